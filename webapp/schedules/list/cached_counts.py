"""What takes long to find is kept in this process for as many times as long as it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

from flask import current_app

Found = TypeVar("Found")

# Found in fewer seconds than that, it is not kept.
QUICK = 0.01
TIMES = 200
MOST = 50


def kept(key: Hashable, find: Callable[[], Found]) -> Found:
    """What `find` gives, or gave not long ago; `key` names it."""
    store: dict[Hashable, tuple[float, object]] = current_app.extensions.setdefault("schedules_kept", {})
    began = time.monotonic()
    until, value = store.get(key, (0.0, None))
    if began < until:
        return cast("Found", value)
    found = find()
    took = time.monotonic() - began
    store.pop(key, None)
    if took > QUICK:
        while len(store) >= MOST:
            del store[next(iter(store))]
        store[key] = (began + TIMES * took, found)
    return found
