"""Errors of the launcher."""


class LaunchError(Exception):
    """Beatdesk cannot start, or cannot continue. The text is one line that says what to do."""
