"""The package that a Celery project installs."""
