"""For authors of tasks: say how far a run is, and write lines that are kept with it.

    from webapp.runs.reporting import progress, write

    for count, order in enumerate(orders, 1):
        ship(order)
        progress(count, len(orders), f"order {order}")

What goes to a logger of `celery.utils.log.get_task_logger` is kept too. Outside of a run all of it does nothing.
"""

from __future__ import annotations

import json
import logging
import math
import time
from typing import Any

from celery import signals

from webapp.runs.current import Execution, current
from webapp.runs.progress_meta import progress_of_meta
from webapp.runs.stream import Event
from webapp.runs.telling import tell
from webapp.secrecy import executing

# A page shows a few steps a second; a task may tell thousands.
LEAST_PAUSE = 0.2
# A run that writes without end must not fill the database.
MOST_LINES = 2_000
LONGEST_LINE = 4_000


class _Told:
    """What the run that this process executes has told so far."""

    def __init__(self) -> None:
        self.progress_at = 0.0
        self.lines = 0


def progress(done: float, total: float | None = None, text: str = "") -> None:
    """Say that `done` of `total` is done. Called often it tells a few times a second, and always the last one.

    Without a total the page shows the count alone. Raises ValueError for what is no finite number.
    """
    for value in (done, total):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"progress needs finite numbers, not {value!r}")
    execution = current()
    if execution is None:
        return
    told = _told(execution)
    at = time.monotonic()
    if at - told.progress_at < LEAST_PAUSE and not (total is not None and done >= total):
        return
    told.progress_at = at
    text = executing.hidden(execution.id, text)[:LONGEST_LINE]
    tell(execution, Event.PROGRESS, json.dumps({"done": done, "total": total, "text": text}))


def report_meta(meta: Any) -> None:
    """Say how far the run is by the meta of a state that its task set by hand, where that says so."""
    found = progress_of_meta(meta)
    if found is not None:
        progress(*found)


def write(text: str, level: str = "info") -> None:
    """Write a line that is kept with the run; `level` as of logging, in small letters."""
    execution = current()
    if execution is None:
        return
    told = _told(execution)
    told.lines += 1
    if told.lines > MOST_LINES:
        return
    if told.lines == MOST_LINES:
        text, level = f"This is line {MOST_LINES:,}; further ones are not kept.", "warning"
    text = executing.hidden(execution.id, text)[:LONGEST_LINE]
    tell(execution, Event.LINE, json.dumps({"level": level, "text": text}))


class LineHandler(logging.Handler):
    """Keeps what tasks log with their runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the formatted record; an error in it is the logger's, not the task's."""
        try:
            write(self.format(record), record.levelname.lower())
        except Exception:  # noqa: BLE001  # the rule of logging: never raise into the code that logs
            self.handleError(record)


@signals.after_setup_task_logger.connect
def _listen(logger: logging.Logger, **_: Any) -> None:
    if not any(isinstance(handler, LineHandler) for handler in logger.handlers):
        # Whoever starts a worker chooses how much it prints; what is kept with a run does not depend on that.
        for other in logger.handlers:
            other.setLevel(max(other.level, logger.level))
        logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
        handler = LineHandler(logging.INFO)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)


def _told(execution: Execution) -> _Told:
    """Kept with the run at hand: under threads and greenlets a process executes several at once."""
    if execution.reported is None:
        execution.reported = _Told()
    told: _Told = execution.reported
    return told
