"""Captures what a task logs and prints as log lines of its run, whatever the worker's own log level is.

- Of every logger that a task uses, what is logged at INFO or above; at a higher level where the logger, or one above it
  other than the root logger, has a level of its own. Not what Celery, its libraries and Beatdesk log meanwhile.
- What is written to `sys.stdout` and `sys.stderr`, line by line.

The worker's log stays as it is: what its level excludes is not printed there. What a thread that the task started says
is in the worker's log alone.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterable
from functools import cache
from typing import Any

from celery import signals
from celery.utils.log import task_logger

from beatdesk.execution.current import current
from beatdesk.execution.reporting import MAX_LINE_LENGTH, append_line, append_printed, run_log_of

# Around each task these log for themselves; by the first part of a logger's name.
_MACHINERY = frozenset(
    {"amqp", "beatdesk", "billiard", "celery", "kombu", "multiprocessing", "redis", "sqlalchemy", "vine", "webapp"}
)
# Their levels are the worker's log level.
_LEVELLED_BY_WORKER = frozenset({"root", task_logger.name})

_formatter = logging.Formatter("%(message)s")
_is_enabled_for = logging.Logger.isEnabledFor
_call_handlers = logging.Logger.callHandlers


class _Busy(threading.local):
    """Whether this thread is writing a captured line: what that prints or logs is not captured again."""

    now = False


_busy = _Busy()


@signals.worker_process_init.connect
@signals.worker_ready.connect
def install(**_: Any) -> None:
    """Keep lines in this process from now on; each of a pool's processes has standard streams of its own."""
    # Here each record passes once, whatever handlers, levels and propagation its logger has.
    logging.Logger.isEnabledFor = _is_enabled_for_worker_or_run  # type: ignore[method-assign,assignment]
    logging.Logger.callHandlers = _keep_and_call_handlers  # type: ignore[method-assign,assignment]
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, KeptStream):
            setattr(sys, name, KeptStream(name, stream))


def _is_enabled_for_worker_or_run(logger: logging.Logger, level: int) -> bool:
    return _is_enabled_for(logger, level) or _is_kept(logger, level)


def _keep_and_call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    execution = current() if _is_kept(logger, record.levelno) else None
    if execution is None:
        _call_handlers(logger, record)
        return
    _busy.now = True
    try:
        append_line(execution, _text(record), record.levelname.lower())
        if _is_enabled_for(logger, record.levelno):
            # A handler that prints does not make another line of it.
            _call_handlers(logger, record)
    finally:
        _busy.now = False


def _is_kept(logger: logging.Logger, level: int) -> bool:
    if level < logging.INFO or _busy.now or logger.disabled or logger.manager.disable >= level:
        return False
    return not _is_machinery(logger.name) and level >= _threshold(logger) and current() is not None


@cache
def _is_machinery(name: str) -> bool:
    is_task = name == task_logger.name or name.startswith(f"{task_logger.name}.")
    return not is_task and name.partition(".")[0] in _MACHINERY


def _threshold(logger: logging.Logger | None) -> int:
    while logger is not None and logger.name not in _LEVELLED_BY_WORKER:
        if logger.level:
            return logger.level
        logger = logger.parent
    return logging.INFO


def _text(record: logging.LogRecord) -> str:
    try:
        return _formatter.format(record)
    except Exception:  # noqa: BLE001  # arguments that do not fit the message; the worker's own handlers say so
        return str(record.msg)


class KeptStream:
    """A standard stream of a worker that also captures what a run writes to it."""

    def __init__(self, name: str, stream: Any) -> None:
        self._name = name
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, data: Any) -> Any:
        """Write to the stream, as that takes it: Celery's logs what it is given, and takes bytes too."""
        written = self._stream.write(data)
        if not _busy.now:
            _busy.now = True
            try:
                _keep_printed(self._name, data)
            finally:
                _busy.now = False
        return written

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)


def _keep_printed(stream: str, data: Any) -> None:
    execution = current()
    if execution is None:
        return
    text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
    partial = run_log_of(execution).partial
    *lines, rest = (partial.pop(stream, "") + text).split("\n")
    for line in lines:
        append_printed(execution, line.rstrip("\r"))
    # A progress bar goes back to the beginning of its line.
    rest = rest[rest.rfind("\r", 0, -1) + 1 :]
    if len(rest) > MAX_LINE_LENGTH:
        append_printed(execution, rest)
    elif rest:
        partial[stream] = rest
