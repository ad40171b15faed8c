"""Django with django-celery-beat and django-celery-results, as their documentation says."""
