"""An entry of the stream as the bytes of the command that appends it."""

from __future__ import annotations

from itertools import chain
from typing import Any

from hiredis import pack_command

from webapp.run_store.events import STREAM, STREAM_LENGTH, Entry, Event, limited

_COMMAND = ("XADD", STREAM, "MAXLEN", "~", str(STREAM_LENGTH), "*")


def packed(entry: Entry) -> bytes:
    """As Redis' protocol has it."""
    return _packed_success(entry) or _packed(entry)


def _packed(entry: Entry) -> bytes:
    # Any: its types know a tuple of one value only.
    command: Any = (*_COMMAND, *chain.from_iterable(entry.fields().items()))
    made: bytes = pack_command(command)
    return made


def _text(value: str) -> str:
    return f"${len(value)}\r\n{value}\r\n"


_VALUES = ("run", "attempt", "at", "text", "worker", "task", "seconds", "received", "began")
# All that is the same for each run that succeeded, with room for its values and their lengths.
_SUCCESS = (
    f"*{len(_COMMAND) + 2 + 2 * len(_VALUES)}\r\n"
    + "".join(map(_text, (*_COMMAND, "event", Event.SUCCEEDED.value)))
    + "".join(f"{_text(name)}$%d\r\n%s\r\n" for name in _VALUES)
)


def _packed_success(entry: Entry) -> bytes | None:
    """Of what is told most often, by one template. None for what is out of the ordinary."""
    received, began, seconds = entry.received, entry.began, entry.seconds
    if entry.event is not Event.SUCCEEDED or entry.traceback or not received or not began or seconds is None:
        return None
    run, worker, task, text = entry.run_id, entry.worker, entry.task, limited(entry.text)
    if not (text and worker and task):
        return None
    attempt, at, took = str(entry.attempt), entry.at.isoformat(), f"{seconds:.6f}"
    was_received, has_begun = received.isoformat(), began.isoformat()
    told = (len(run), run, len(attempt), attempt, len(at), at, len(text), text, len(worker), worker, len(task), task)
    times = (len(took), took, len(was_received), was_received, len(has_begun), has_begun)
    try:
        return (_SUCCESS % (told + times)).encode("ascii")
    except UnicodeEncodeError:
        # Lengths are counted in bytes.
        return None
