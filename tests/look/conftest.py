"""A client that is signed in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from tests.visitors import Visitor


@pytest.fixture
def signed_in(app: Flask) -> Callable[[str], Visitor]:
    """A client that is signed in with a role: `signed_in("viewer")`."""
    return partial(Visitor, app)
