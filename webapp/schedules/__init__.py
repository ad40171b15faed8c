"""Pages, JSON and commands of schedules."""
