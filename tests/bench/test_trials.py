"""The benchmark measures our beat, in small, as a real process. The scheduler's own tests cover its faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.beats import costs, measures, throughput
from bench.beats.servers import Storage
from bench.beats.targets import OURS, OURS_SQLITE
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


def test_the_probe_gives_what_start_ticks_and_edits_cost(bench: Bench) -> None:
    values = costs.process(bench, OURS_SQLITE, 20, 0.5, 60.0)
    assert values.keys() == {measure.key for measure in measures.process(20)}
    assert all(value.number is not None and value.number > 0 for value in values.values())
