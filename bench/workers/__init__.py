"""What a task costs in a worker: with nothing, with Celery's task events, with django-celery-results, and with ours."""
