"""Celery's `beat_schedule` in Python source: parsed without executing it, and exported."""
