"""Measures our beat beside celery's own, sqlalchemy-celery-beat, django-celery-beat and celery-redbeat, in one run.

`plan`, `driver` and `peers/` run in each scheduler's own virtual environment and import nothing but the standard
library and that scheduler. Everything else runs in the project's.
"""
