"""The recorder: moves the state changes that workers append to a Redis stream into `runs`."""
