"""The calendar of the coming week, and moving schedules to quieter times."""
