"""FastAPI with sqlalchemy-celery-beat: the schedules are rows in the shop's database."""
