"""People to act as, and a form that is filled in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask

from tests.visitors import Visitor


@pytest.fixture
def visit(app: Flask) -> Callable[[str], Visitor]:
    """A client that is signed in with a role: `visit("viewer")`."""
    return partial(Visitor, app)


@pytest.fixture
def scheduler(visit: Callable[[str], Visitor]) -> Visitor:
    """A client that may edit schedules."""
    return visit("scheduler")


@pytest.fixture
def filled() -> Callable[..., dict[str, Any]]:
    """The fields of a legal crontab schedule, with changes."""

    def fields(**changes: Any) -> dict[str, Any]:
        base = {"name": "Sums", "task": "add", "kind": "crontab", "crontab": "30 8 * * *", "args": "[1, 2]"}
        return {**base, "timezone": "Europe/Berlin", **changes}

    return fields
