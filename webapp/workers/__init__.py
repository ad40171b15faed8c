"""Workers, their capacity, and the queues."""
