"""It needs nothing."""
