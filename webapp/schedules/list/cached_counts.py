"""A cache for slow queries: a result is cached for a multiple of the time that it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from flask import current_app

Found = TypeVar("Found")

# Faster results are not cached.
MIN_SECONDS = 0.01
LIFETIME_FACTOR = 200
MAX_ENTRIES = 50


def cached(key: Hashable, find: Callable[[], Found]) -> Found:
    """The result of `find`, or its cached result for this key."""
    store: dict[Hashable, tuple[float, object]] = current_app.extensions.setdefault("schedules_kept", {})
    began = time.monotonic()
    until, value = store.get(key, (0.0, None))
    if began < until:
        return cast("Found", value)
    found = find()
    took = time.monotonic() - began
    store.pop(key, None)
    if took > MIN_SECONDS:
        while len(store) >= MAX_ENTRIES:
            del store[next(iter(store))]
        store[key] = (began + LIFETIME_FACTOR * took, found)
    return found
