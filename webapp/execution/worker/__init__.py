"""The worker process: what it consumes, how it connects, its row in `workers`."""
