"""Entries of task events begin runs that no worker of ours claims, and never move one backwards."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from beatdesk.execution.events import Entry, Event
from tests.runs.making import make_run, record
from tests.support import fresh
from webapp.database.engine import now
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def observed(run_id: str, attempt: int = 0, seconds: float = 0.0) -> Entry:
    return Entry(run_id, Event.OBSERVED, attempt, now() + timedelta(seconds=seconds), worker="celery@shop")


@pytest.mark.parametrize("state", [RunState.QUEUED, RunState.HELD, RunState.UNCONFIRMED])
def test_a_run_that_waits_begins(context: Flask, state: RunState) -> None:
    run_id = make_run(state=state, started_at=None, ended_at=None, reason="It is unknown", claimed_by=None)
    record(observed(run_id))
    run = fresh(Run, run_id)
    assert (run.state, run.worker, run.ended_at, run.reason) == (RunState.STARTED, "celery@shop", None, None)
    assert run.started_at is not None


def test_one_that_a_worker_of_ours_claimed_stays(context: Flask) -> None:
    run_id = make_run(state=RunState.QUEUED, started_at=None, ended_at=None, claimed_by="ours", worker="ours")
    record(observed(run_id))
    run = fresh(Run, run_id)
    assert (run.state, run.worker, run.started_at) == (RunState.QUEUED, "ours", None)


def test_of_one_that_has_ended_only_the_beginning_is_noted(context: Flask) -> None:
    run_id = make_run(state=RunState.SUCCEEDED, started_at=None, ended_at=now(), claimed_by=None)
    record(observed(run_id, seconds=-5))
    run = fresh(Run, run_id)
    assert run.state == RunState.SUCCEEDED
    assert run.started_at is not None
    assert run.ended_at is not None
    assert run.started_at < run.ended_at


def test_attempts_in_one_batch_end_at_the_last(context: Flask) -> None:
    run_id = make_run(state=RunState.QUEUED, started_at=None, ended_at=None, claimed_by=None)
    entries = [
        observed(run_id),
        Entry(run_id, Event.RETRYING, 0, now(), "ValueError: later", worker="celery@shop"),
        observed(run_id, 1, 3.0),
    ]
    record(*entries)
    first = fresh(Run, run_id)
    assert (first.state, first.attempt) == (RunState.STARTED, 1)
    # News of the attempt before that comes once more changes nothing.
    record(*entries[:2])
    assert fresh(Run, run_id).state == RunState.STARTED
    record(Entry(run_id, Event.SUCCEEDED, 1, now(), "1", worker="celery@shop"))
    record(*entries)
    run = fresh(Run, run_id)
    assert (run.state, run.result, run.attempt) == (RunState.SUCCEEDED, "1", 1)


def test_a_run_that_waits_for_its_next_attempt_begins_by_that_alone(context: Flask) -> None:
    run_id = make_run(state=RunState.RETRYING, attempt=0, ended_at=None, claimed_by=None)
    record(observed(run_id, 0))
    assert fresh(Run, run_id).state == RunState.RETRYING
    record(observed(run_id, 1))
    assert fresh(Run, run_id).state == RunState.STARTED
