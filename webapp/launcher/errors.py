"""What can go wrong while starting."""


class LaunchError(Exception):
    """It cannot be started, or it cannot go on. The text is one line that says what to do."""
