"""The secrets of the runs that this process is executing, masked in everything that it emits and logs meanwhile.

Text is masked where it repeats a secret argument of its run, and where it has the form of a secret (see `text`).
"""

from __future__ import annotations

import logging
from typing import Any

from beatdesk.secrecy.masking import value_without, without
from beatdesk.secrecy.text import hide

_executing: dict[str, frozenset[str]] = {}
_formatter = logging.Formatter()


def begin(run_id: str, texts: frozenset[str]) -> None:
    """Mask these texts from now on."""
    _executing[run_id] = texts


def end(run_id: str) -> None:
    """Forget the secrets of a run that has ended here and was reported."""
    _executing.pop(run_id, None)


def has_secrets() -> bool:
    """Whether a run with secrets is being executed."""
    return bool(_executing)


def hidden(run_id: str, text: str) -> str:
    """The text without secrets."""
    return hide(hidden_in_json(run_id, text))


def hidden_in_json(run_id: str, text: str) -> str:
    """JSON text without the secrets of that run; those that its names reveal are masked already."""
    texts = _executing.get(run_id)
    return without(texts, text) if texts else text


def hidden_in(run_id: str, value: Any) -> Any:
    """A JSON value without the secrets of that run, before it becomes text, in which they are spelled differently."""
    texts = _executing.get(run_id)
    return value_without(texts, value) if texts else value


class HidingFilter(logging.Filter):
    """Masks secrets in each log record, including those of the runs that are being executed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Pass every record, with its secrets masked."""
        texts = frozenset().union(*tuple(_executing.values())) if _executing else frozenset[str]()
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # arguments that do not fit the message; the handler reports it
            return True
        shown = hide(without(texts, message))
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_info and not record.exc_text:
            record.exc_text = _formatter.formatException(record.exc_info)
        if record.exc_text:
            # A formatter uses this text instead of its own.
            record.exc_text = hide(without(texts, record.exc_text))
        return True
