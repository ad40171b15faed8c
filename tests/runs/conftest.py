"""People to act as, inside the application's context: tests of runs also call services."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.visitors import Visitor


@pytest.fixture
def viewer(context: Flask) -> Visitor:
    return Visitor(context, "viewer")


@pytest.fixture
def operator(context: Flask) -> Visitor:
    return Visitor(context, "operator")


@pytest.fixture
def admin(context: Flask) -> Visitor:
    return Visitor(context, "admin")
