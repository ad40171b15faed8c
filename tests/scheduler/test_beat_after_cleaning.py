"""A due time whose run was deleted never fires again, whatever happens to the beats, the clock or the schedule."""

from __future__ import annotations

from datetime import datetime

import pytest
import sqlalchemy as sa

from beatdesk.execution.ids import due_run_id
from tests.scheduler.beats import RUNS, FakeTime, Rig, at, drive, hours
from webapp.run_store.states import RunState
from webapp.runs.retention import service

pytestmark = pytest.mark.each_database

SAVED = at("2027-03-01T00:30:00")
RULES = dict.fromkeys(service.DEFAULTS, 1)


def _end(beats: Rig) -> None:
    """As if workers had executed all of them at once."""
    with beats.engine.begin() as connection:
        values = {"state": "succeeded", "created_at": RUNS.c.due_at, "ended_at": RUNS.c.due_at}
        connection.execute(sa.update(RUNS).where(RUNS.c.state == "queued").values(**values))


def _clean(beats: Rig, now: datetime) -> int:
    return sum(service.delete_old(beats.engine, RULES, now, pause=lambda: None, max_seconds=60).deleted.values())


@pytest.mark.parametrize("afterwards", ["another beat", "clock set back", "edited", "switched off and on"])
def test_deleted_run_fires_no_more(beats: Rig, afterwards: str) -> None:
    details = {"misfire": "run all", "misfire_window": 90 * 86_400}
    made = beats.crontab("c", "0 * * * *", saved=SAVED, details=details)
    time = FakeTime(SAVED)
    core = beats.leading(time)
    drive(core, time, SAVED + hours(72))
    _end(beats)
    assert len(beats.runs(made)) == 72
    assert _clean(beats, SAVED + hours(72)) == 48
    if afterwards == "clock set back":
        time.set_clock(-7200)
    elif afterwards == "edited":
        beats.edit(made, SAVED + hours(72), queue="other")
    elif afterwards == "switched off and on":
        beats.edit(made, SAVED + hours(72), enabled=False)
        _clean(beats, SAVED + hours(72))
        beats.edit(made, SAVED + hours(72), enabled=True)
    core = beats.leading(time)
    core.step(woken=True)
    drive(core, time, SAVED + hours(74))
    assert [run.due_at for run in beats.runs(made)] == [at("2027-03-03T01:00:00") + hours(n) for n in range(26)]


def test_due_time_that_was_skipped_beforehand_stays_until_it_has_passed(beats: Rig) -> None:
    """Beat was away for longer than the run is kept: it still finds that this one is not to be fired."""
    details = {"misfire": "run all", "misfire_window": 90 * 86_400}
    made = beats.crontab("c", "0 3 * * *", saved=SAVED, details=details)
    skipped = at("2027-03-02T03:00:00")
    with beats.engine.begin() as connection:
        connection.execute(
            sa.insert(RUNS).values(
                id=due_run_id(made, skipped.timestamp()), task="add", state=RunState.SKIPPED, schedule_id=made,
                due_at=skipped, created_at=SAVED, ended_at=SAVED,
            )
        )  # fmt: skip
    assert _clean(beats, SAVED + hours(96)) == 0
    time = FakeTime(SAVED + hours(96))
    drive(beats.leading(time), time, SAVED + hours(97))
    assert beats.dues(made) == [at(f"2027-03-0{day}T03:00:00") for day in (1, 3, 4)]
    assert beats.dues(made, "skipped") == [skipped]
    _end(beats)
    assert _clean(beats, SAVED + hours(24 * 30)) == 4
    core = beats.leading(time)
    core.step(woken=True)
    assert beats.runs(made) == []


def test_runs_of_a_deleted_schedule_go_too(beats: Rig) -> None:
    made = beats.crontab("c", "0 * * * *", saved=SAVED)
    time = FakeTime(SAVED)
    drive(beats.leading(time), time, SAVED + hours(3))
    _end(beats)
    beats.execute("DELETE FROM celery_periodictask WHERE id = :id", id=made)
    assert _clean(beats, SAVED + hours(72)) == 3
