"""The form of a schedule, a schedule made by it, and tasks to schedule."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from tests import servers
from tests.visitors import Visitor, number_of
from webapp import create_app


@pytest.fixture
def visit(app: Flask) -> Callable[[str], Visitor]:
    """A client that is signed in with a role: `visit("viewer")`."""
    return partial(Visitor, app)


@pytest.fixture
def filled() -> Callable[..., dict[str, Any]]:
    """The fields of a legal crontab schedule, with changes."""

    def fields(**changes: Any) -> dict[str, Any]:
        base = {"name": "Sums", "task": "add", "kind": "crontab", "crontab": "30 8 * * *", "args": "[1, 2]"}
        return {**base, "timezone": "Europe/Berlin", **changes}

    return fields


@pytest.fixture
def number(scheduler: Visitor, filled: Callable[..., dict[str, Any]]) -> int:
    """The number of a schedule."""
    return number_of(scheduler.post("/schedules", filled()))


@pytest.fixture(scope="module")
def registered_tasks() -> None:
    """The tasks in the registry of the Celery app, which building an application fills."""
    create_app(servers.settings("sqlite://", "redis://127.0.0.1:1/0"))
