"""Plain Celery: routes by name and by pattern, priorities, a base class, some tasks acknowledged late."""
