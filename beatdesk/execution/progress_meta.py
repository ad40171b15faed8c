"""Progress, read from the meta that a task gave to Celery's `update_state`.

There is no standard for it, only habit: `{"current": 3, "total": 10, "status": "…"}` is that of Celery's own guide.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

# Usual names, the most specific first; letter case does not count.
_DONE = ("current", "done", "completed", "processed")
# Numbers of this meaning only beside a total.
_DONE_OF_TOTAL = (*_DONE, "progress", "value", "step")
_TOTAL = ("total", "max", "total_steps", "steps")
_PERCENT = ("percent", "percentage", "pct", "percent_complete", "percent_done", "progress")
_TEXT = ("status", "message", "text", "description", "detail", "msg", "stage", "step")

_PAIR = re.compile(r"\s*(\S+)\s*(?:/|of)\s*(\S+)\s*")
# A number as text is short; to read a longer one costs time.
_MAX_NUMBER_LENGTH = 40


def progress_of_meta(meta: object) -> tuple[float, float | None, str] | None:
    """What is done, of which total, and the text beside it; None where the meta has no usable number. Never raises.

    A percentage counts as done of 100. A lone `progress` is a share where it is a fraction of 1, else a percentage.
    Negative, infinite and unreadable numbers count as absent, and so does a total of 0.
    """
    if not isinstance(meta, dict):
        return None
    values = {name.lower(): value for name, value in meta.items() if isinstance(name, str)}
    nested = values.get("progress")
    if isinstance(nested, dict):
        values |= {"progress": None, **{name.lower(): value for name, value in nested.items() if isinstance(name, str)}}
    found = _done_of_total(values) or _pair(values) or _percentage(values) or _done(values)
    text = next((text for name in _TEXT if isinstance(text := values.get(name), str)), "")
    return (*found, text) if found else None


def _done_of_total(values: Mapping[str, Any]) -> tuple[float, float] | None:
    done, total = next(_numbers(values, _DONE_OF_TOTAL), None), next(_numbers(values, _TOTAL), None)
    return None if done is None or not total else (done, total)


def _pair(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """Both numbers of a text such as "3/10" or "3 of 10"."""
    for value in map(values.get, _DONE_OF_TOTAL):
        match = _PAIR.fullmatch(value) if isinstance(value, str) and len(value) <= 2 * _MAX_NUMBER_LENGTH else None
        done, total = (_number(part) for part in match.groups()) if match else (None, None)
        if done is not None and total:
            return done, total
    return None


def _percentage(values: Mapping[str, Any]) -> tuple[float, float] | None:
    for name in _PERCENT:
        value = values.get(name)
        number = _number(value.strip().removesuffix("%") if isinstance(value, str) else value)
        if number is not None:
            is_share = name == "progress" and isinstance(value, float) and value <= 1
            return number * 100 if is_share else number, 100.0
    return None


def _done(values: Mapping[str, Any]) -> tuple[float, None] | None:
    done = next(_numbers(values, _DONE), None)
    return None if done is None else (done, None)


def _numbers(values: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[float]:
    return (number for name in names if (number := _number(values.get(name))) is not None)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (Real, Decimal, str)):
        return None
    if isinstance(value, str) and len(value) > _MAX_NUMBER_LENGTH:
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
