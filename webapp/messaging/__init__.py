"""The Celery app, its settings, and the only gateway to the broker and to Redis."""
