"""Calling a task: its arguments as fields or JSON, and how a call reads."""
