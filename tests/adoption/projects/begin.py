"""`python -m tests.adoption.projects.begin PACKAGE TASK CALL…`: send a task by its name, as a project's shell does."""

from __future__ import annotations

import sys
from importlib import import_module

from celery.app.utils import find_app


def main(package: str, task: str, *calls: str) -> None:
    """Send it once for each call, before others where the queue has priorities."""
    import_module(f"{package}.load")
    app = find_app(f"{package}.app")
    for call in calls:
        app.send_task(task, [call], priority=9)


if __name__ == "__main__":
    main(*sys.argv[1:])
