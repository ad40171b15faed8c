"""Beatdesk beside other people's Celery projects."""
