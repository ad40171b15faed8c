"""The secrets of what this process executes, kept out of what it emits and logs meanwhile.

Text is masked where it repeats a secret argument of its run, and where it shows itself what is secret (see `text`).
"""

from __future__ import annotations

import logging
from typing import Any

from webapp.secrecy.masking import value_without, without
from webapp.secrecy.text import hide

_executing: dict[str, frozenset[str]] = {}
_formatter = logging.Formatter()


def begin(run_id: str, texts: frozenset[str]) -> None:
    """Mask these texts from now on."""
    _executing[run_id] = texts


def end(run_id: str) -> None:
    """The run has ended here, and all that could be said of it was said."""
    _executing.pop(run_id, None)


def has_secrets() -> bool:
    """Whether a run is being executed that has some."""
    return bool(_executing)


def hidden(run_id: str, text: str) -> str:
    """The text without secrets."""
    return hide(hidden_in_json(run_id, text))


def hidden_in_json(run_id: str, text: str) -> str:
    """JSON text of values whose own secrets are masked already, without those of that run."""
    texts = _executing.get(run_id)
    return without(texts, text) if texts else text


def hidden_in(run_id: str, value: Any) -> Any:
    """A value as JSON has it without the secrets of that run; for what becomes text later, which spells them anew."""
    texts = _executing.get(run_id)
    return value_without(texts, value) if texts else value


class HidingFilter(logging.Filter):
    """Masks in each line that is logged what is secret in it, and the secrets of what is being executed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, some of them changed."""
        texts = frozenset().union(*tuple(_executing.values())) if _executing else frozenset[str]()
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001  # arguments that do not fit the message; the handler says so
            return True
        shown = hide(without(texts, message))
        if shown != message:
            record.msg, record.args = shown, None
        if record.exc_info and not record.exc_text:
            record.exc_text = _formatter.formatException(record.exc_info)
        if record.exc_text:
            # A formatter uses this text rather than make its own.
            record.exc_text = hide(without(texts, record.exc_text))
        return True
