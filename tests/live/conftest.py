"""The application behind a real socket, for streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.browser import server
from tests.servers import wait_for


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The address of the application; its streams end with the test."""
    with server.serving(app) as address:
        yield address
        hub = app.extensions.get("live")
        if hub is not None:
            wait_for(lambda: hub._reader is None, message="the reader did not end")
