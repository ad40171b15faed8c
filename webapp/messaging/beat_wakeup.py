"""The Redis channel on which beat is woken. What is said there is only "look": the database says what changed."""

CHANNEL = "beatdesk:schedules"
