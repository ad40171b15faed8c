"""The ids of runs that have a row before they have a message.

They are UUIDs of version 8. Celery gives its own messages version 4, so an id says by itself whether a row must have
been there once: a message of ours that comes after its row was deleted is not taken for one that was sent past us.
"""

from __future__ import annotations

import os
import time

_VERSION_AT = 14


def new_id() -> str:
    """A new id: the time in milliseconds, so that ids of one time lie together in the index, then random bits."""
    moment, noise = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    return join_id(moment, noise)


def join_id(moment: str, noise: str) -> str:
    """The id made of 12 hexadecimal digits of time and at least 19 of anything."""
    variant = "89ab"[int(noise[3], 16) & 3]
    return f"{moment[:8]}-{moment[8:12]}-8{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"


def had_row(run_id: str) -> bool:
    """Whether a run of this id was made with its row first."""
    return run_id[_VERSION_AT : _VERSION_AT + 1] == "8"
