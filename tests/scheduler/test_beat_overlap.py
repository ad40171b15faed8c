"""A schedule that comes due while its last run has not ended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.scheduler.beats import FakeTime, Rig, at, drive
from webapp.scheduler.core import Core

BEGIN = at("2027-03-01T10:00:00")


@pytest.fixture
def database_url(each_database: str) -> str:
    return each_database


def _begin(beats: Rig, policy: str) -> tuple[int, FakeTime, Core]:
    made = beats.interval("i", 60, saved=BEGIN, details={"overlap": policy})
    time = FakeTime(BEGIN)
    return made, time, beats.leading(time)


def _minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def test_allow(beats: Rig) -> None:
    made, time, core = _begin(beats, "allow")
    drive(core, time, _minute(3))
    assert len(beats.dues(made)) == 3


def test_skip_until_the_run_has_ended(beats: Rig) -> None:
    made, time, core = _begin(beats, "skip")
    drive(core, time, _minute(2.5))
    beats.end_runs(made)
    drive(core, time, _minute(3))
    assert [due.minute for due in beats.dues(made, "skipped")] == [2]
    assert beats.runs(made, "skipped")[0].reason == "the run of 2027-03-01 10:01:00 UTC has not ended; policy: skip"
    assert [due.minute for due in beats.dues(made)] == [3]


def test_queue_one_holds_one_and_releases_it(beats: Rig) -> None:
    made, time, core = _begin(beats, "queue one")
    drive(core, time, _minute(3.5))
    assert [due.minute for due in beats.dues(made)] == [1]
    assert [due.minute for due in beats.dues(made, "held")] == [2]
    assert [due.minute for due in beats.dues(made, "skipped")] == [3]
    core.step(woken=True)
    assert [due.minute for due in beats.dues(made, "held")] == [2]
    beats.end_runs(made)
    core.step(woken=True)
    assert beats.dues(made, "held") == []
    assert [due.minute for due in beats.dues(made)] == [2]


def test_cancel_other_revokes_what_waits(beats: Rig) -> None:
    made, time, core = _begin(beats, "cancel other")
    drive(core, time, _minute(2))
    assert [due.minute for due in beats.dues(made, "revoked")] == [1]
    assert [due.minute for due in beats.dues(made)] == [2]
    assert beats.runs(made, "revoked")[0].ended_at is not None
