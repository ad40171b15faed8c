"""Responses whose time does not depend on what they keep secret, such as whether an account exists."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

from webapp.extensions import db

View = TypeVar("View", bound=Callable[..., Any])

# Enough for rating and hashing a password, a transaction and a publish.
MIN_RESPONSE_SECONDS = 0.5


def even_time(view: View) -> View:
    """A decorator that delays the response to a POST to a minimum time, so that its duration reveals nothing."""

    @functools.wraps(view)
    def evened(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            return view(*args, **kwargs)
        finally:
            if request.method == "POST":
                # So that no lock is held meanwhile.
                db.session.rollback()
                least = current_app.config["EVEN_ANSWER_SECONDS"]
                time.sleep(max(0.0, began + least - time.monotonic()))

    return evened  # type: ignore[return-value]  # the same signature
