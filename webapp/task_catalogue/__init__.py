"""The registered tasks, their arguments, and which of these are secret."""
