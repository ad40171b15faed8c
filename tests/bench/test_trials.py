"""Every kind of measurement, at a tiny size, with our beat as a real process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.beats import costs, faults, measures, throughput
from bench.beats.measures import Value
from bench.beats.servers import Storage
from bench.beats.targets import OURS, OURS_SQLITE, Target
from bench.beats.trial import Bench
from tests.servers import Databases

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(tmp_path: Path, databases: Databases) -> Bench:
    # Generous: other tests may be running on this machine.
    return Bench(tmp_path, Storage(databases), slack=4.0)


def test_a_burst_gives_a_rate(bench: Bench) -> None:
    values = throughput.burst(bench, OURS, 20, 30.0)
    assert values.keys() == {measures.burst(20).key}
    rate = values[measures.burst(20).key]
    assert rate.number is not None
    assert rate.number > 0
    assert "of 20" not in rate.note


def test_a_steady_stream_gives_the_lateness_of_every_message(bench: Bench) -> None:
    values = throughput.steady(bench, OURS_SQLITE, rate=20, seconds=1.0, others=10, bound=30.0)
    median, high, most = (values[measure.key].number for measure in measures.steady(20))
    assert median is not None
    assert high is not None
    assert most is not None
    assert 0 < median <= high <= most


def test_the_probe_gives_what_start_ticks_and_edits_cost(bench: Bench) -> None:
    values = costs.process(bench, OURS_SQLITE, 20, 0.5, 60.0)
    assert values.keys() == {measure.key for measure in measures.process(20)}
    assert all(value.number is not None and value.number > 0 for value in values.values())


def test_edits_give_the_time_until_their_first_message(bench: Bench) -> None:
    values = costs.effect(bench, OURS_SQLITE, 10, 2, 30.0)
    assert {value.note for value in values.values()} == {"2 edits"}
    assert all(value.number is not None and value.number > 0 for value in values.values())


FAULTS: tuple[Callable[[Bench, Target, float], dict[str, Value]], ...] = (faults.two_beats, faults.kill, faults.outage)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gives_what_was_sent_twice_and_what_was_lost(
    bench: Bench, fault: Callable[[Bench, Target, float], dict[str, Value]]
) -> None:
    values = fault(bench, OURS_SQLITE, 30.0 if fault is faults.two_beats else 1.0)
    counted = {key: value.number for key, value in values.items() if key != "failover"}
    assert set(counted.values()) == {0}
    assert fault is not faults.two_beats or values["failover"].number is not None
