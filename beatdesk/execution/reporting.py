"""For authors of tasks: progress, and log lines that are kept with the run.

    from beatdesk.execution.reporting import log, progress

    for count, order in enumerate(orders, 1):
        ship(order)
        progress(count, len(orders), f"order {order}")
    log("all shipped")

What a task logs or prints is kept too (see `task_output`). Outside of a run all of it does nothing.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from beatdesk.execution.current import Execution, current
from beatdesk.execution.emitter import emit
from beatdesk.execution.events import Event
from beatdesk.execution.progress_meta import progress_of_meta
from beatdesk.secrecy import executing

# Seconds between two progress entries: a page shows a few a second, and a task may report thousands.
MIN_INTERVAL = 0.2
# A run that writes without end must not fill the database.
MAX_LINES = 2_000
MAX_LINE_LENGTH = 4_000


class RunLog:
    """The state of what a run has reported. `partial` is its printed text without an end of line yet, by stream."""

    def __init__(self) -> None:
        self.progress_at = 0.0
        self.lines = 0
        self.partial: dict[str, str] = {}


def progress(done: float, total: float | None = None, text: str = "") -> None:
    """Report that `done` of `total` is done. Called often it is emitted a few times a second, and always at the end.

    Without a total the page shows the count alone. Raises ValueError for a number that is not finite.
    """
    for value in (done, total):
        if value is not None and not math.isfinite(value):
            raise ValueError(f"progress needs finite numbers, not {value!r}")
    execution = current()
    if execution is None:
        return
    run_log = run_log_of(execution)
    at = time.monotonic()
    if at - run_log.progress_at < MIN_INTERVAL and not (total is not None and done >= total):
        return
    run_log.progress_at = at
    text = executing.hidden(execution.id, text)[:MAX_LINE_LENGTH]
    emit(execution, Event.PROGRESS, json.dumps({"done": done, "total": total, "text": text}))


def report_meta(meta: Any) -> None:
    """Report the progress that the meta of a state set by hand contains, if any."""
    found = progress_of_meta(meta)
    if found is not None:
        progress(*found)


def log(text: str, level: str = "info") -> None:
    """Write a log line of the run; `level` as in logging, in small letters."""
    execution = current()
    if execution is not None:
        append_line(execution, text, level)


# Its former name.
write = log


def append_line(execution: Execution, text: str, level: str = "info") -> None:
    """Append a log line to a run, up to `MAX_LINES`."""
    run_log = run_log_of(execution)
    run_log.lines += 1
    if run_log.lines > MAX_LINES:
        return
    if run_log.lines == MAX_LINES:
        text, level = f"This is line {MAX_LINES:,}. Further lines are not kept.", "warning"
    text = executing.hidden(execution.id, text)[:MAX_LINE_LENGTH]
    emit(execution, Event.LINE, json.dumps({"level": level, "text": text}))


def append_printed(execution: Execution, text: str) -> None:
    """Append a printed line as a terminal shows it, unless it is empty."""
    shown = text.rpartition("\r")[2]
    if shown.strip():
        append_line(execution, shown)


def finish(execution: Execution) -> None:
    """Append the last printed text that had no end of line."""
    if execution.reported is not None:
        for text in execution.reported.partial.values():
            append_printed(execution, text)


def run_log_of(execution: Execution) -> RunLog:
    """The run's own: under threads and greenlets a process executes several at once."""
    if execution.reported is None:
        execution.reported = RunLog()
    run_log: RunLog = execution.reported
    return run_log
