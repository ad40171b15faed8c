"""The cost of a task in a worker: plain, with task events, observed, with django-celery-results, and ours."""
