"""How many things a second a process of ours works off, in ways that each have a bar: one table, one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bench.beats import table


@dataclass(frozen=True, slots=True)
class Pace:
    """Things worked off, how many a second, CPU microseconds of the process for one, and one figure more."""

    count: int
    a_second: float
    own: float
    more: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What is measured with so many runs, once for each way in `bars`; a bar of 0 is none.

    `heads` are the heads of the table: what is counted, its unit, the CPU, the figure more.
    """

    title: str
    way: str
    heads: tuple[str, str, str, str]
    bars: Mapping[str, int]
    runs: int
    measure: Callable[[int, str], Pace]

    def measured(self) -> str:
        """Measure every way; gives the table."""
        return self.report(self.paces(self.runs, self.bars))

    def paces(self, runs: int, ways: Iterable[str]) -> dict[str, Pace]:
        """Measure some ways."""
        return {way: self.measure(runs, way) for way in ways}

    def report(self, paces: Mapping[str, Pace]) -> str:
        """The table, a row for each way."""
        what, unit, own, more = self.heads
        rows = [(what, unit, "a second", own, more, "bar", "reached")]
        for way, pace in paces.items():
            figures = (f"{pace.count:,}", f"{pace.a_second:,.0f}", f"{pace.own:.0f}", f"{pace.more:,.0f}")
            bar = f"{self.bars[way]:,}" if self.bars[way] else ""
            rows.append((way, *figures, bar, "yes" if self._reached(way, pace) else "NO"))
        return table.text(rows)

    def main(self, description: str | None) -> None:
        """The command of its own: measure, print the table; fails below a bar."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--runs", type=int, default=self.runs)
        parser.add_argument(f"--{self.way}", dest="way", choices=sorted(self.bars))
        asked = parser.parse_args()
        paces = self.paces(asked.runs, [asked.way] if asked.way else self.bars)
        print(self.report(paces))
        if not all(self._reached(way, pace) for way, pace in paces.items()):
            sys.exit("below the bar")

    def _reached(self, way: str, pace: Pace) -> bool:
        return pace.a_second >= self.bars[way]
