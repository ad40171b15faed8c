"""The measures, their units, and the bars that ours must reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Value:
    """A measured number, in the measure's unit. Without one, `note` says why; with one, it adds to it."""

    number: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table. `bar` is for PostgreSQL, `sqlite_bar` for SQLite; None if there is no bar."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"] = "lower"
    bar: float | None = None
    sqlite_bar: float | None = None

    def reached(self, value: Value | None, bar: float | None) -> bool | None:
        """Whether a value reaches a bar; None where there is no bar or nothing was measured."""
        if bar is None or value is None:
            return None
        if value.number is None:
            return False
        return value.number >= bar if self.better == "higher" else value.number <= bar


def burst(count: int) -> Measure:
    """Messages in a second, from the common due time to the arrival of the last message."""
    bars = (10_000.0, 5_000.0) if count >= 10_000 else (None, None)
    return Measure(f"burst-{count}", f"burst of {count:,}", "msg/s", "higher", *bars)


def steady(rate: int) -> tuple[Measure, Measure, Measure]:
    """Lateness: the arrival of each message against its due time. Median, 99th percentile, maximum."""
    bar = {100: 20.0, 500: 50.0}.get(rate)
    title = f"steady {rate}/s, lateness"
    return (
        Measure(f"steady-{rate}-p50", f"{title} p50", "ms"),
        Measure(f"steady-{rate}-p99", f"{title} p99", "ms", bar=bar),
        Measure(f"steady-{rate}-max", f"{title} max", "ms"),
    )


def process(size: int) -> tuple[Measure, ...]:
    """The costs of a beat with so many schedules."""
    largest = size >= 100_000
    title = f"with {size:,}: "
    return (
        Measure(f"start-{size}", f"{title}start to first tick", "s", bar=3.0 if largest else None),
        Measure(f"idle-{size}", f"{title}idle tick", "ms", bar=1.0 if largest else None),
        Measure(f"idle-cpu-{size}", f"{title}an idle second, CPU", "ms"),
        Measure(f"memory-{size}", f"{title}memory", "MB", bar=200.0 if largest else None),
        Measure(f"edit-cpu-{size}", f"{title}one edit, CPU", "ms", bar=5.0 if largest else None),
        Measure(f"edit-statements-{size}", f"{title}one edit, statements", ""),
    )


def effect(size: int) -> tuple[Measure, Measure]:
    """From the commit of an edit to the first message that it causes."""
    title = f"edit to effect with {size:,}"
    return (
        Measure(f"effect-{size}-median", f"{title}, median", "ms", bar=100.0, sqlite_bar=100.0),
        Measure(f"effect-{size}-max", f"{title}, max", "ms", bar=1000.0, sqlite_bar=1000.0),
    )


FAULTS = (
    Measure("two-beats-twice", "two beats: of 50, fired twice", "", bar=0.0, sqlite_bar=0.0),
    Measure("two-beats-lost", "two beats: of 50, lost", "", bar=0.0, sqlite_bar=0.0),
    Measure("failover", "failover after kill -9", "s", bar=5.0, sqlite_bar=5.0),
    Measure("kill-twice", "kill -9 after 50: sent again", "", bar=0.0, sqlite_bar=0.0),
    Measure("kill-lost", "kill -9 after 50: lost", "", bar=0.0, sqlite_bar=0.0),
    Measure("outage-lost", "broker away 10 s: of 20, lost", "", bar=0.0, sqlite_bar=0.0),
    Measure("outage-twice", "broker away 10 s: sent twice", "", bar=0.0, sqlite_bar=0.0),
)
