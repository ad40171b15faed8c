"""People to act as, and a form that is filled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.schedules.acting import Visitor
from tests.visitors import signed_in


@pytest.fixture
def visit(app: Flask) -> Callable[[str], Visitor]:
    """A signed-in browser of somebody with that role."""

    def as_role(role: str) -> Visitor:
        client = app.test_client()
        return Visitor(client, signed_in(app, client, role))

    return as_role


@pytest.fixture
def scheduler(visit: Callable[[str], Visitor]) -> Visitor:
    """Somebody who may edit schedules."""
    return visit("scheduler")


@pytest.fixture
def filled() -> Callable[..., dict[str, Any]]:
    """The fields of a legal crontab schedule, with changes."""

    def fields(**changes: Any) -> dict[str, Any]:
        base = {"name": "Sums", "task": "add", "kind": "crontab", "crontab": "30 8 * * *", "args": "[1, 2]"}
        return {**base, "timezone": "Europe/Berlin", **changes}

    return fields
