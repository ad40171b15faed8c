"""The ids of runs, which are UUIDs always.

What has a row before it has a message gets an id of version 8. Celery gives its own messages version 4, so an id says
by itself whether a row must have been there once: a message of ours that comes after its row was deleted is not taken
for one that another program sent.

Other programs may give any text as an id, and the same one again and again. Each of their sendings is a run: the first
has their id where that is a UUID, and else one that is derived from it; a repeated one has an id derived from theirs
and from when it was received, which is the same wherever it is computed.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from hashlib import sha1

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
MAX_EXTERNAL_ID = 255
_DERIVED = uuid.UUID("6f0e8f2c-52a5-5a3f-9d3a-0b6e5f7c1d42")


def new_id() -> str:
    """A new id: the time in milliseconds, so that ids of one time lie together in the index, then random bits."""
    moment, noise = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    return join_id(moment, noise)


def join_id(moment: str, noise: str) -> str:
    """The id made of 12 hexadecimal digits of time and at least 19 of anything."""
    variant = "89ab"[int(noise[3], 16) & 3]
    return f"{moment[:8]}-{moment[8:12]}-8{noise[:3]}-{variant}{noise[4:7]}-{noise[7:19]}"


def due_run_id(schedule_id: int, due: float) -> str:
    """The id of the run of a due time, the same wherever it is computed: made of the time and a hash of both."""
    noise = sha1(f"{schedule_id}:{round(due * 1_000_000)}".encode(), usedforsecurity=False).hexdigest()
    return join_id(f"{max(round(due * 1000), 0):012x}", noise)


def had_row(task_id: str) -> bool:
    """Whether a run of this id was made with its row first."""
    match = _UUID.fullmatch(task_id)
    return match is not None and match[1] == "8"


def made_at(run_id: str) -> float:
    """When the run of an id with a row was made, or came due, in epoch seconds; of another id 0."""
    return int(run_id[:8] + run_id[9:13], 16) / 1000 if had_row(run_id) else 0.0


def is_run_id(text: object) -> bool:
    """Whether this can be the id of a run."""
    return isinstance(text, str) and _UUID.fullmatch(text) is not None


def is_random(task_id: str) -> bool:
    """Whether this looks like an id that Celery made for a message."""
    match = _UUID.fullmatch(task_id)
    return match is not None and match[1] == "4"


def id_of_task(task_id: str) -> str:
    """The id of the run of a task id: itself where it is a UUID as we write them."""
    return task_id if _UUID.fullmatch(task_id) else _derived(task_id)


def repeated_id(task_id: str, received: float | None) -> str:
    """The id of the run of a task id that had been sent before. `received` is in epoch seconds; None: a random one."""
    return _derived(f"{task_id}\n{os.urandom(16).hex() if received is None else received!r}")


def external_id(task_id: str) -> str:
    """The id of another program as it is kept beside the run's: cut, and what is no UTF-8 escaped."""
    return task_id.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:MAX_EXTERNAL_ID]


def _derived(text: str) -> str:
    return str(uuid.uuid5(_DERIVED, text.encode("utf-8", "backslashreplace").decode()))
