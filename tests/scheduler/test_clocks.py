"""Clocks that are wrong by an hour (R6); see also `test_beat_faults` for what beat makes of each due time."""

from __future__ import annotations

import pytest

from tests.scheduler.beats import Rig
from tests.soak import clock
from tests.soak.measure import failures

pytestmark = pytest.mark.each_database


def test_a_clock_that_is_set_costs_no_gap_and_no_second_run(beats: Rig) -> None:
    assert failures(clock.beat_steps(beats, 3)) == []


def test_a_worker_or_page_an_hour_off_does_no_harm(beats: Rig) -> None:
    assert failures(clock.other_clocks(beats)) == []
