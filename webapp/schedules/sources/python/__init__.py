"""Celery's `beat_schedule` in Python source: read without running it, and written."""
