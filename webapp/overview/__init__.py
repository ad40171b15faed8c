"""The front page, health checks and metrics."""
