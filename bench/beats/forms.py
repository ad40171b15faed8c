"""The quick form and the full form: which measurements, at which sizes, for which schedulers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.beats import costs, faults, measures, throughput
from bench.beats.measures import Measure, Value
from bench.beats.targets import TARGETS, Target
from bench.beats.trial import Bench

Measuring = Callable[[Bench, Target], dict[str, Value]]


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of some schedulers. `together` of them are measured at a time: only where they mostly wait."""

    title: str
    measures: tuple[Measure, ...]
    measure: Measuring
    targets: tuple[Target, ...] = TARGETS
    together: int = 1


def _burst(count: int, bound: float) -> Step:
    def run(bench: Bench, target: Target) -> dict[str, Value]:
        return throughput.burst(bench, target, count, bound)

    return Step(f"burst of {count:,}", (measures.burst(count),), run)


def _steady(rate: int, seconds: float, size: int, bound: float) -> Step:
    """The schedulers that do not keep up anyway get no idle schedules beside the busy ones."""

    def run(bench: Bench, target: Target) -> dict[str, Value]:
        crowded = target.ours or target.key in ("redbeat", "yardstick")
        others = max(size - round(rate * seconds), 0) if crowded else 0
        return throughput.steady(bench, target, rate=rate, seconds=seconds, others=others, bound=bound)

    return Step(f"steady {rate}/s for {seconds:.0f} s", measures.steady(rate), run)


def _process(size: int, seconds: float, at_most: float) -> Step:
    run = partial(_with, costs.process, size=size, seconds=seconds, at_most=at_most)
    return Step(f"start, tick, memory, edit with {size:,}", measures.process(size), run)


def _effect(size: int, count: int, seconds: float, targets: tuple[Target, ...], together: int) -> Step:
    run = partial(_with, costs.effect, size=size, count=count, seconds=seconds)
    return Step(f"edit to effect with {size:,}", measures.effect(size), run, targets, together)


def _faults(patience: float, failover: float, together: int, targets: tuple[Target, ...] = TARGETS) -> list[Step]:
    two, gap, kill, outage = measures.FAULTS[:2], measures.FAULTS[2:3], measures.FAULTS[3:5], measures.FAULTS[5:]
    steps = (
        ("two beats, failover", two + gap, partial(_with, faults.two_beats, patience=failover)),
        ("kill -9 after firing 50", kill, partial(_with, faults.kill, patience=patience)),
        ("broker away", outage, partial(_with, faults.outage, patience=patience)),
    )
    return [Step(title, measured, run, targets, together) for title, measured, run in steps]


def _with(measuring: Callable[..., dict[str, Value]], bench: Bench, target: Target, **given: float) -> dict[str, Value]:
    return measuring(bench, target, **given)


OURS_ONLY = tuple(target for target in TARGETS if target.ours)
PEERS_ONLY = tuple(target for target in TARGETS if not target.ours)


def quick() -> list[Step]:
    """Everything at small sizes; within five minutes."""
    return [
        _burst(1000, 2.0),
        _steady(100, 2.0, 200, 2.0),
        _process(1000, 0.5, 60.0),
        _effect(100, 5, 5.0, OURS_ONLY, 1),
        # These wait, for five seconds and more at a time, so that many of them can wait together.
        _effect(100, 2, 10.0, PEERS_ONLY, 20),
        *_faults(5.0, 40.0, 20, PEERS_ONLY),
        *_faults(5.0, 40.0, 6, OURS_ONLY),
    ]


def full() -> list[Step]:
    """Everything; about 25 minutes."""
    return [
        _burst(1000, 10.0),
        _burst(10_000, 15.0),
        _steady(100, 10.0, 1000, 5.0),
        _steady(500, 10.0, 100_000, 10.0),
        _process(100, 5.0, 60.0),
        _process(10_000, 5.0, 120.0),
        _process(100_000, 5.0, 400.0),
        _effect(100, 20, 60.0, OURS_ONLY, 1),
        _effect(100_000, 20, 60.0, OURS_ONLY, 1),
        _effect(100, 20, 120.0, PEERS_ONLY, 4),
        *_faults(10.0, 60.0, 4),
    ]
