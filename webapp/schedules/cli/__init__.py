"""`flask schedules`."""
