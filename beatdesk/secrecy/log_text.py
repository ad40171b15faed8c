"""Log records as text that always looks like one record, whatever names and messages are in it."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from contextlib import suppress
from numbers import Number
from typing import Any

from beatdesk.encoding import one_line, without_controls

CONTINUED = "\n    "
"""The beginning of each further line of a record: only records begin at the margin."""


def escape_in(handler: logging.Handler) -> None:
    """Have a handler escape control characters, and characters that the encoding of its file cannot hold."""
    if isinstance(handler, logging.FileHandler):
        # For a file that is opened again, for example after rotation.
        handler.errors = "backslashreplace"
    if isinstance(handler, logging.StreamHandler):
        with suppress(AttributeError, ValueError):
            handler.stream.reconfigure(errors="backslashreplace")
    if not isinstance(handler.formatter, EscapingFormatter):
        handler.setFormatter(EscapingFormatter(handler.formatter or logging.Formatter()))


class EscapingFormatter(logging.Formatter):
    """Wraps a formatter: arguments of messages are in one line, and further lines are indented."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner
        # Celery's formatter adds colours; here they are added last, so that they are not escaped.
        self._colors: Mapping[str, Any] = getattr(inner, "colors", {}) if getattr(inner, "use_color", False) else {}
        if self._colors:
            inner.use_color = False  # type: ignore[attr-defined]  # checked above

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        shown = copy.copy(record)
        if isinstance(record.args, Mapping):
            shown.args = {name: _shown(value) for name, value in record.args.items()}
        elif record.args:
            shown.args = tuple(_shown(value) for value in record.args)
        text = without_controls(self._inner.format(shown).replace("\r\n", "\n")).replace("\n", CONTINUED)
        color = self._colors.get(record.levelname)
        return str(color(text)) if color else text


class _Shown:
    """An argument of a message, whose text is made in one line when the message is formatted."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return one_line(str(self._value))

    def __repr__(self) -> str:
        return one_line(repr(self._value))


def _shown(value: object) -> object:
    return value if value is None or isinstance(value, Number) else _Shown(value)
