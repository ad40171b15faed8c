"""The secrets of what this process executes, kept out of what it tells and logs meanwhile."""

from __future__ import annotations

import logging
from typing import Any

from webapp.secrecy.masking import value_without, without

_executing: dict[str, frozenset[str]] = {}
_formatter = logging.Formatter()


def begin(run_id: str, texts: frozenset[str]) -> None:
    """Mask these texts from now on."""
    _executing[run_id] = texts


def end(run_id: str) -> None:
    """The run has ended here, and all that could be said of it was said."""
    _executing.pop(run_id, None)


def hidden(run_id: str, text: str) -> str:
    """The text without the secrets of that run."""
    texts = _executing.get(run_id)
    return without(texts, text) if texts else text


def hidden_in(run_id: str, value: Any) -> Any:
    """A value as JSON has it without the secrets of that run; for what becomes text later, which spells them anew."""
    texts = _executing.get(run_id)
    return value_without(texts, value) if texts else value


class HidingFilter(logging.Filter):
    """Masks in each line that is logged the secrets of what is being executed; costs nothing where there are none."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, some of them changed."""
        if _executing:
            texts = frozenset().union(*tuple(_executing.values()))
            record.msg, record.args = without(texts, record.getMessage()), None
            if record.exc_info and not record.exc_text:
                record.exc_text = _formatter.formatException(record.exc_info)
            if record.exc_text:
                # A formatter uses this text rather than make its own.
                record.exc_text = without(texts, record.exc_text)
        return True
