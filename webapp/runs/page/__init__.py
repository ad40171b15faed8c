"""The page of one run: timeline, values, tracebacks, family."""
