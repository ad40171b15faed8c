"""Who is alive, and what waits in the queues."""
