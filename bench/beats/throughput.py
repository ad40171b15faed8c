"""Bursts and steady streams: how many messages a second, and how late."""

from __future__ import annotations

import statistics

from bench.beats import measures
from bench.beats.measures import Value
from bench.beats.plan import Group, idle, pulse
from bench.beats.targets import Target
from bench.beats.trial import Bench, trial
from bench.beats.watch import Arrival

# Seconds between a beat's being ready and the first due time.
CALM = 0.5


def burst(bench: Bench, target: Target, count: int, bound: float) -> dict[str, Value]:
    """`count` schedules due at one instant, with at most `bound` seconds to send them.

    The rate is counted from the due time to the last arrival. Counting from the first arrival instead would flatter a
    scheduler that sends in batches; that figure is in the note.
    """

    def groups(ready: float) -> list[Group]:
        return [pulse(ready), Group("burst", count, ready + CALM)]

    with trial(bench, target, groups) as made:
        due = made.ready + CALM
        with made.watch() as watch:
            made.wait_until_ready()
            complete = watch.wait_for(count, due + bound, alive=made.alive)
            arrivals = watch.arrivals()
    return {measures.burst(count).key: _rate(arrivals, due, count, bound, complete)}


def _rate(arrivals: list[Arrival], due: float, count: int, bound: float, complete: bool) -> Value:
    if not complete:
        return Value(len(arrivals) / bound, f"{len(arrivals)} of {count:,} in {bound:.0f} s")
    first, last = arrivals[0].at, arrivals[-1].at
    at_first = sum(1 for arrival in arrivals if arrival.at == first)
    between = f"{(count - at_first) / (last - first):,.0f}/s from first to last" if last > first else "all at once"
    return Value(count / (last - due), between)


def steady(bench: Bench, target: Target, *, rate: int, seconds: float, others: int, bound: float) -> dict[str, Value]:
    """`rate` schedules a second come due, each once, beside `others` that do not.

    A scheduler that has not sent everything `bound` seconds after the last due time never keeps up.
    """
    count = round(rate * seconds)

    def groups(ready: float) -> list[Group]:
        return [pulse(ready), idle(others, ready), Group("steady", count, ready + CALM, step=1 / rate)]

    with trial(bench, target, groups) as made:
        group = groups(made.ready)[2]
        with made.watch() as watch:
            made.wait_until_ready()
            complete = watch.wait_for(count, made.ready + CALM + seconds + bound, alive=made.alive)
            arrivals = watch.arrivals()
    keys = [measure.key for measure in measures.steady(rate)]
    if not complete:
        sent = len(arrivals) / (seconds + bound)
        return dict.fromkeys(keys, Value(None, f"never keeps up ({sent:.0f}/s)"))
    late = sorted((arrival.at - group.due(arrival.name)) * 1000 for arrival in arrivals)
    figures = (statistics.median(late), late[int(len(late) * 0.99) - 1], late[-1])
    return {key: Value(figure) for key, figure in zip(keys, figures, strict=True)}
