"""The command groups of `flask` and `beatdesk-server`; each one is in the room of its feature."""

from __future__ import annotations

from flask import Flask

from webapp.leaving.cli import leave
from webapp.messaging.installation_cli import installation
from webapp.people.cli import users
from webapp.runs.cli import observer, recorder, runs
from webapp.schedules.cli.group import schedules
from webapp.web.static_files import static

COMMANDS = (installation, leave, observer, recorder, runs, schedules, static, users)


def register_commands(app: Flask) -> None:
    """Add every command and group of commands to `flask`."""
    for group in COMMANDS:
        app.cli.add_command(group)
