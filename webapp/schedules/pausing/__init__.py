"""Global and tag pauses, and change windows."""
