"""Progress and log lines of tasks: stored once, never backwards, shown as text."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution import reporting
from beatdesk.execution.events import Entry, Event
from tests.runs.making import make_run, record
from tests.support import fresh, reading
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import RunState
from webapp.runs.page import context as details

pytestmark = pytest.mark.each_database


def entry(
    run_id: str, event: Event, seconds: float = 0.0, entry: str = "1-0", attempt: int = 0, **what: object
) -> Entry:
    return Entry(run_id, event, attempt, now() + timedelta(seconds=seconds), text=json.dumps(what), entry_id=entry)


def lines(run_id: str) -> list[tuple[str, str]]:
    with reading():
        query = sa.select(RunLine.level, RunLine.text).where(RunLine.run_id == run_id).order_by(RunLine.id)
        return [(row.level, row.text) for row in db.session.execute(query)]


def test_progress_never_goes_backwards(context: Flask) -> None:
    run_id = make_run(RunState.STARTED, started_at=now())
    late = entry(run_id, Event.PROGRESS, seconds=-5, done=1, total=4)
    record(entry(run_id, Event.PROGRESS, done=3, total=4, text="three"), entry(run_id, Event.PROGRESS, -1, done=2))
    record(late)
    run = fresh(Run, run_id)
    assert (run.progress_done, run.progress_total, run.progress_text) == (3, 4, "three")
    record(Entry(run_id, Event.SUCCEEDED, 0, now(), text="1"), entry(run_id, Event.PROGRESS, 9, done=4, total=4))
    record(entry(run_id, Event.PROGRESS, 10, done=9, total=9))
    assert fresh(Run, run_id).progress_done == 4


def test_line_emitted_twice_is_stored_once(context: Flask) -> None:
    run_id = make_run(RunState.STARTED)
    first, second = entry(run_id, Event.LINE, entry="1-0", text="a"), entry(run_id, Event.LINE, entry="1-1", text="b")
    record(first, second, first)
    record(second)
    assert lines(run_id) == [("info", "a"), ("info", "b")]


@pytest.mark.parametrize("text", ["", "no json", "[1]", "null"])
def test_what_is_not_ours_breaks_nothing(context: Flask, text: str) -> None:
    run_id = make_run(RunState.STARTED)
    record(Entry(run_id, Event.PROGRESS, 0, now(), text=text), Entry(run_id, Event.LINE, 0, now(), text=text))
    assert fresh(Run, run_id).progress_done is None


def test_remaining_time_is_computed_from_the_pace(context: Flask) -> None:
    at = now()
    run = Run(state=RunState.STARTED, started_at=at - timedelta(seconds=30), progress_at=at, progress_done=3)
    run.progress_total = 4
    shown = details.progress_of(run)
    assert shown is not None
    assert (shown.percent, shown.remaining) == (75.0, 10.0)
    run.progress_total = None
    unbounded = details.progress_of(run)
    assert unbounded is not None
    assert (unbounded.percent, unbounded.remaining) == (None, None)


def test_outside_of_a_run_it_does_nothing(context: Flask) -> None:
    reporting.progress(1, 2)
    reporting.write("outside of a run")
    with pytest.raises(ValueError, match="finite"):
        reporting.progress(float("nan"))
    with reading():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(RunLine)) == 0
