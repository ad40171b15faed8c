"""Export and import of schedules."""
