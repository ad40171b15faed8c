"""Our own worker: the claim in the database, its heartbeat, which queues it consumes, what it discards."""
