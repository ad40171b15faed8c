"""Measured figures, next to their targets."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

_HOLDS = {"=": operator.eq, "≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True)
class Measure:
    """One number of the reliability table (docs/reliability.md). Without a bar it is only counted."""

    test: str
    what: str
    value: float
    unit: str = ""
    sign: str = "="
    bar: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.bar is None or bool(_HOLDS[self.sign](self.value, self.bar))

    def line(self) -> str:
        """One line of the report."""
        bar = "counted" if self.bar is None else f"{self.sign} {self.bar:g}{self.unit}"
        verdict = "" if self.bar is None else "yes" if self.reached else "NO"
        return f"{self.test:<4} {self.what:<62} {_short(self.value) + self.unit:>10}  {bar:>10}  {verdict}".rstrip()


def _short(value: float) -> str:
    return f"{value:g}" if float(value).is_integer() else f"{value:.2f}"


def failures(measures: Iterable[Measure]) -> list[str]:
    """The lines of what was not reached."""
    return [measure.line() for measure in measures if not measure.reached]
