"""What makes another project's worker an adopted one: its claims in Redis, and its presence there."""
