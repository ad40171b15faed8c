"""Answers that take equally long, whatever they keep to themselves."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

from webapp.extensions import db

View = TypeVar("View", bound=Callable[..., Any])

# Seconds. Estimating and hashing a password, a transaction and a publish fit into it.
SLOWEST_USUAL = 0.5


def even_time(view: View) -> View:
    """Answer a POST no sooner than in the usual longest time, so that its length tells nothing."""

    @functools.wraps(view)
    def evened(*args: Any, **kwargs: Any) -> Any:
        began = time.monotonic()
        try:
            return view(*args, **kwargs)
        finally:
            if request.method == "POST":
                # Nobody waits for a lock meanwhile.
                db.session.rollback()
                least = current_app.config["EVEN_ANSWER_SECONDS"]
                time.sleep(max(0.0, began + least - time.monotonic()))

    return evened  # type: ignore[return-value]  # the same signature
