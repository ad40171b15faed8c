"""The inbox of failures: what failed, whether anyone knows, and whether it is over."""
