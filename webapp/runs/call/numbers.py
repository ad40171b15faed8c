"""Numbers as people type them or JSON has them: whole ones stay int, others become float. Pure functions."""

from __future__ import annotations

import math
import re
from typing import Any

# Longer than any number that a person types, and short enough for Python to read it quickly.
MAX_DIGITS = 100
_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number(given: Any) -> int | float:
    """A whole number as int, any other as float; from text or JSON. Raises ValueError with a sentence."""
    if given is None or given == "":
        raise ValueError("Enter a number.")
    if isinstance(given, str):
        given = _read_text(given.strip())
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ValueError("Enter a number.")  # noqa: TRY004  # it is what was sent, not a type of ours
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError("This number is too large or not finite.")
    if isinstance(given, int) and abs(given) >= 10**MAX_DIGITS:
        raise ValueError("This number is too large.")
    return given


def whole(given: Any) -> int:
    """A whole number. Raises ValueError with a sentence."""
    found = number(given)
    if not isinstance(found, int):
        raise ValueError("Enter a whole number.")  # noqa: TRY004  # it is what was typed, not a type of ours
    return found


def _read_text(text: str) -> int | float:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"Enter at most {MAX_DIGITS} digits.")
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    raise ValueError("Enter a number, such as 2, -3.5 or 1e6.")
