"""Two beats, a killed beat, a broker that is away: how many messages are sent twice, and how many never."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

from bench.beats.measures import Value
from bench.beats.plan import Group, pulse
from bench.beats.processes import TrialError
from bench.beats.targets import Target
from bench.beats.trial import PROCESS_START, Bench, Trial, trial
from bench.beats.watch import Arrival

AWAY = 10.0


def two_beats(bench: Bench, target: Target, patience: float) -> dict[str, Value]:
    """Two beats, 50 schedules due within 5 s; then the one that was first is killed, and the gap is timed.

    The gap ends with the first message after the kill, at most `patience` seconds later. Where no beat leads, both fire
    everything and there is nothing to fail over.
    """
    window, second_start = 5.0, PROCESS_START + 1.0

    def groups(ready: float) -> list[Group]:
        return [pulse(ready, 10), Group("fire", 50, ready + second_start, step=window / 50)]

    with trial(bench, target, groups) as made, made.watch() as watch:
        made.wait_until_ready()
        made.start()
        watch.wait_for(100, made.ready + second_start + window + 3)
        values = _twice_and_lost("two-beats", watch.arrivals(), 50)
        if not target.leads:
            return values | {"failover": Value(None, "none leads")}
        return values | {"failover": Value(_gap(made, patience))}


def _gap(made: Trial, patience: float) -> float:
    with made.watch("pulse") as watch:
        watch.require(1, time.time() + 5)
        made.beats[0].kill()
        killed = time.time()
        # Messages that the killed one had sent may still arrive, and must be counted before.
        time.sleep(0.05)
        before = watch.length
        watch.require(before + 1, killed + patience)
        return watch.at(before + 1) - killed


def kill(bench: Bench, target: Target, patience: float) -> dict[str, Value]:
    """Beat fires 50, is killed 3 s later and started again; `patience` seconds later the messages are counted."""

    def groups(ready: float) -> list[Group]:
        return [pulse(ready), Group("fire", 50, ready + 0.5)]

    with trial(bench, target, groups) as made, made.watch() as watch:
        made.wait_until_ready()
        watch.wait_for(50, made.ready + 30)
        time.sleep(3)
        made.beats[0].kill()
        made.start()
        made.wait_for_pulse(time.time() + 30)
        time.sleep(patience)
        return _twice_and_lost("kill", watch.arrivals(), 50)


def outage(bench: Bench, target: Target, patience: float) -> dict[str, Value]:
    """The broker is away for 10 s, in which 20 schedules come due; `patience` seconds later the messages are counted.

    A beat that ends because of it is started again, as a supervisor would.
    """

    def groups(ready: float) -> list[Group]:
        return [pulse(ready), Group("fire", 20, ready + 1.0, step=(AWAY - 1) / 20)]

    with trial(bench, target, groups) as made:
        made.wait_until_ready()
        _sleep_until(made.ready + 0.5)
        made.broker.leave()
        _supervise(made, made.ready + 0.5 + AWAY)
        made.broker.come_back()
        with made.watch() as watch:
            # A beat that was started again may find the lease of its dead self, and waits until it has run out.
            until = made.ready + 0.5 + AWAY + patience * (4 if target.leads else 1)
            _supervise(made, until, lambda: watch.length >= 20)
            # Time for duplicates to arrive.
            time.sleep(3)
            arrivals = watch.arrivals()
    return _twice_and_lost("outage", arrivals, 20)


def _supervise(made: Trial, until: float, enough: Callable[[], bool] = lambda: False) -> None:
    while time.time() < until and not enough():
        if not made.alive():
            if len(made.beats) > 50:
                raise TrialError("beat does not stay up")
            made.beats.append(made.beats[-1].again())
        time.sleep(0.2)


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.time(), 0.0))


def _twice_and_lost(key: str, arrivals: list[Arrival], count: int) -> dict[str, Value]:
    """Count names with a second task id as fired twice. One task id in two messages is one run that was sent again."""
    ids: dict[str, set[str]] = defaultdict(set)
    for arrival in arrivals:
        ids[arrival.name].add(arrival.id)
    fired = sum(len(of_one) for of_one in ids.values())
    again = len(arrivals) - fired
    note = f"{again} repeated with the same id" if again else ""
    return {f"{key}-twice": Value(fired - len(ids), note), f"{key}-lost": Value(count - len(ids))}
