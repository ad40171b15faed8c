"""The cost of a task in a worker: plain, with Celery's task events, with django-celery-results, and with ours."""
