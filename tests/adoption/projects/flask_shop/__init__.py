"""A Flask application by a factory, with Celery as Flask's documentation integrates it."""
