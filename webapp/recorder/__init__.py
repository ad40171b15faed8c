"""The recorder: what workers say, moved from the Redis stream into `runs`."""
