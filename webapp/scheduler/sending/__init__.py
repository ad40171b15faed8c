"""Publishing committed runs: message templates where they serve, Celery's own way where not."""
