"""The name and text of any exception: Celery replaces some, and the text of some cannot be read."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from celery.exceptions import Retry
from celery.utils.saferepr import saferepr
from celery.utils.serialization import UnpickleableExceptionWrapper
from kombu.utils.encoding import safe_repr

_CALL = re.compile(r"(?:\w+\.)*(\w+)\(")
_MAX_CONTEXTS = 20


def headline(exception: BaseException) -> str:
    """Name and text in one line of the form "ValueError: below zero"; of a retry, those of its cause. Never raises."""
    name, text = _described(exception)
    return ": ".join((name, text)) if text else name


def headline_of_meta(meta: Any) -> str:
    """The text of a failure that a task set by hand: of an exception, or of Celery's own form of one."""
    if isinstance(meta, BaseException):
        return headline(meta)
    if not isinstance(meta, Mapping) or "exc_type" not in meta:
        return f"Set to FAILURE by the task: {saferepr(meta)}"
    message = meta.get("exc_message")
    parts = message if isinstance(message, list | tuple) else [message]
    text = ", ".join(str(part) for part in parts if part is not None)
    return f"{meta['exc_type']}: {text}" if text else str(meta["exc_type"])


def original(exception: BaseException) -> BaseException:
    """The exception that the task raised, as long as it is being handled, where Celery hands on another one for it.

    On every pool Celery replaces what cannot be pickled by the nearest base class that can, or by a wrapper.
    """
    handled = sys.exc_info()[1]
    trace = exception.__traceback__
    return handled if handled is not None and trace is not None and trace is handled.__traceback__ else exception


def _described(exception: BaseException) -> tuple[str, str]:
    if isinstance(exception, Retry):
        return _described_retry(exception)
    found = original(exception)
    if isinstance(found, UnpickleableExceptionWrapper):
        return str(found.exc_cls_name), _text(Exception(*found.exc_args or ()))
    return type(found).__name__, _text(found)


def _described_retry(retry: Retry) -> tuple[str, str]:
    """The cause of a retry; Celery keeps the `repr` of the one that was given, and its replacement."""
    cause = retry.exc
    if not isinstance(cause, BaseException):
        said, context = retry.message or retry.excs, retry.__context__
        return ("Retry", str(said or "")) if said or context is None else _described(context)
    given = next((one for one in _contexts(retry) if safe_repr(one) == retry.excs), cause)
    name, text = _described(given)
    written = _CALL.match(retry.excs or "") if given is cause and safe_repr(cause) != retry.excs else None
    return (written[1] if written and not isinstance(cause, UnpickleableExceptionWrapper) else name), text


def _contexts(exception: BaseException) -> Iterator[BaseException]:
    context = exception.__context__
    # A context that was set by hand can lead in a circle.
    for _ in range(_MAX_CONTEXTS):
        if context is None:
            return
        yield context
        context = context.__context__


def _text(exception: BaseException) -> str:
    try:
        return str(exception)
    except BaseException as error:  # noqa: BLE001  # whatever an exception does when it is asked
        return f"<its text cannot be read: {type(error).__name__}>"
