"""What workers tell is applied in batches, in any order, any number of times, and never moves a run backwards."""

from __future__ import annotations

import json
import random
from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run, make_runs
from tests.support import fresh
from webapp.database import now
from webapp.extensions import db
from webapp.runs import recording
from webapp.runs.models import Run
from webapp.runs.states import RunState
from webapp.runs.stream import Entry, Event


@pytest.fixture
def database_url(each_database: str) -> str:
    return each_database


def record(*entries: Entry) -> None:
    with db.engine.begin() as connection:
        recording.apply(connection, entries)


def test_batch_with_many_of_every_event_is_applied(context: Flask) -> None:
    ids = make_runs(60, state=RunState.STARTED, ended_at=None)
    ends = [Event.SUCCEEDED, Event.FAILED, Event.REVOKED, Event.EXPIRED]
    told = json.dumps({"done": 1, "total": 2, "text": "half"})
    entries = [Entry(run_id, Event.RECEIVED, 0, now()) for run_id in ids]
    entries += [Entry(run_id, Event.RETRYING, 1, now(), text="again") for run_id in ids]
    entries += [Entry(run_id, Event.PROGRESS, 1, now(), text=told) for run_id in ids]
    entries += [Entry(run_id, Event.LINE, 1, now(), text=told, entry_id=run_id) for run_id in ids]
    entries += [Entry(run_id, ends[count % 4], 1, now(), text="1") for count, run_id in enumerate(ids)]
    random.shuffle(entries)
    record(*entries)
    record(*entries)
    states = [fresh(Run, run_id).state for run_id in ids]
    assert states == [ends[count % 4].value for count in range(60)]
    run = fresh(Run, ids[0])
    assert (run.attempt, run.result, run.progress_done) == (1, "1", 1)
    assert run.received_at is not None


@pytest.mark.parametrize(
    "late",
    [
        Entry("", Event.RETRYING, 1, now(), text="again"),
        Entry("", Event.FAILED, 0, now() + timedelta(hours=1), text="ValueError"),
        Entry("", Event.REVOKED, 5, now(), text="Cancelled"),
    ],
)
def test_ended_run_stays_as_it_ended(context: Flask, late: Entry) -> None:
    run_id = make_run(RunState.SUCCEEDED, result="5")
    record(Entry(run_id, late.event, late.attempt, late.at, text=late.text))
    run = fresh(Run, run_id)
    assert (run.state, run.result, run.error, run.attempt) == (RunState.SUCCEEDED, "5", None, 0)


def test_earlier_attempt_does_not_end_a_later_one(context: Flask) -> None:
    run_id = make_run(RunState.STARTED, attempt=2)
    record(Entry(run_id, Event.FAILED, 1, now(), text="ValueError"))
    assert fresh(Run, run_id).state == RunState.STARTED
