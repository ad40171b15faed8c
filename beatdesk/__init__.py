"""What a Celery project installs beside its tasks: what happens around a task. Imports celery and redis alone."""

__version__ = "0.1.0"
