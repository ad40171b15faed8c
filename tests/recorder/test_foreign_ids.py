"""Messages of other programs are recorded and never refused; a redelivery is executed once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery import Task, states
from flask import Flask

from beatdesk.execution.emitter import received_entry
from beatdesk.execution.events import Entry, Event
from beatdesk.execution.ids import id_of_task, is_run_id, new_id
from tests.runs.making import deliver, make_run
from tests.support import reading
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.recorder import recording
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState

pytestmark = [
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
    pytest.mark.each_database,
]
NAMED = "daily-report"
LONG = "daily-report:customer-4711:2026-11-25:x"
RANDOM = "0a4f0c9e-3e0a-4c3c-9a54-0b6f2a1d5c11"


@pytest.fixture
def task(context: Flask, redis: redis_client.Redis) -> Iterator[Task]:
    celery.loader.import_default_modules()
    calls: list[int] = []

    def work(fail: bool = False) -> int:
        calls.append(1)
        if fail:
            raise ValueError("asked to fail")
        return len(calls)

    yield celery.task(work, name="tests.count", shared=False)
    celery.tasks.pop("tests.count")


def rows() -> list[Run]:
    with reading():
        found = list(db.session.scalars(sa.select(Run).order_by(Run.created_at, Run.id)))
        db.session.expunge_all()
        return found


@pytest.mark.parametrize("task_id", [NAMED, LONG, RANDOM, RANDOM.upper(), "x" * 5_000, str(uuid.NAMESPACE_DNS)])
def test_an_id_that_is_sent_again_is_another_run(task: Task, task_id: str) -> None:
    results = [deliver(task, task_id, beatdesk_received=now().timestamp()).retval for _ in range(3)]
    assert results == [1, 2, 3]
    found = rows()
    assert len(found) == 3
    assert all(is_run_id(row.id) for row in found)
    assert {row.origin for row in found} == {Origin.PROGRAM}
    ids = [row.external_id for row in found]
    if task_id in (RANDOM, str(uuid.NAMESPACE_DNS)):
        assert sorted(ids, key=str) == [task_id, task_id, None] or ids.count(None) == 1
    else:
        assert set(ids) == {task_id[:255]}


def test_a_message_that_the_broker_delivers_once_more_is_a_duplicate(task: Task) -> None:
    for task_id in (NAMED, RANDOM):
        deliver(task, task_id)
        again = deliver(task, task_id, delivery_info={"redelivered": True})
        assert again.info.state == states.IGNORED
    assert len(rows()) == 2


def test_a_lost_workers_message_goes_to_the_next_worker(task: Task) -> None:
    first = id_of_task(NAMED)
    silent = now() - timedelta(minutes=1)
    ended = make_run(RunState.SUCCEEDED, id=first, external_id=NAMED, started_at=silent, age=120)
    going = make_run(
        RunState.STARTED, external_id=NAMED, started_at=silent, claims=1, claimed_by="gone", claim_seen_at=silent
    )
    assert deliver(task, NAMED, delivery_info={"redelivered": True}).retval == 1
    claimed = {row.id: row.claims for row in rows()}
    assert claimed == {ended: 0, going: 2}


def test_a_retry_goes_on_with_the_run_that_it_retries(task: Task) -> None:
    deliver(task, NAMED)
    request: dict[str, Any] = {"retries": 0}
    outcome = deliver(task, NAMED, beatdesk_received=now().timestamp(), **request)
    assert outcome.retval == 2
    second = next(row for row in rows() if row.id != id_of_task(NAMED))
    # As Celery sends a retry: the headers that are not its own go along.
    deliver(task, NAMED, retries=1, beatdesk_run=second.id)
    found = {row.id: (row.claims, row.attempt) for row in rows()}
    assert found == {id_of_task(NAMED): (1, 0), second.id: (2, 1)}


def test_what_was_cancelled_before_it_began_does_not_begin(task: Task) -> None:
    received = now() - timedelta(seconds=5)
    run_id = id_of_task(NAMED)
    make_run(RunState.REVOKED, id=run_id, external_id=NAMED, origin=Origin.PROGRAM, ended_at=now())
    refused = deliver(task, NAMED, beatdesk_received=received.timestamp())
    assert refused.info.state == states.IGNORED
    # Tomorrow's is another one.
    assert deliver(task, NAMED, beatdesk_received=(now() + timedelta(days=1)).timestamp()).retval == 1


def test_a_run_of_ours_is_executed_once_however_its_message_comes(task: Task) -> None:
    run_id = make_run(RunState.QUEUED, id=new_id(), task=task.name)
    adopted = make_run(RunState.QUEUED, task=task.name)
    deliveries: list[dict[str, Any]] = [{}, {"delivery_info": {"redelivered": True}}, {}]
    for headers in deliveries:
        deliver(task, run_id, **headers)
        deliver(task, adopted, beatdesk_run=adopted, **headers)
    assert {row.id: row.claims for row in rows()} == {run_id: 1, adopted: 1}


def test_a_message_of_a_version_that_did_not_name_runs_is_its_rows(task: Task) -> None:
    """A run that a task sent before the upgrade, and that beat has sent again since."""
    run_id = make_run(RunState.QUEUED, id=RANDOM, task=task.name, origin=Origin.TASK)
    assert deliver(task, run_id, beatdesk_run=run_id).retval == 1
    assert deliver(task, run_id, beatdesk_received=now().timestamp()).info.state == states.IGNORED
    assert {row.id: row.claims for row in rows()} == {run_id: 1}


@pytest.fixture
def record(context: Flask) -> Callable[[list[Entry]], None]:
    def apply(entries: list[Entry]) -> None:
        with db.engine.begin() as connection:
            recording.apply(connection, entries)

    return apply


def received(task_id: str, at: float, **more: Any) -> Entry:
    message = {"id": task_id, "task": "tests.count", "args": [1], "kwargs": {"password": "hunter22"}, "hostname": "w@h"}
    return received_entry({**message, "beatdesk_received": at, **more})


def test_a_row_is_there_as_soon_as_a_worker_has_received_the_message(
    task: Task, record: Callable[[list[Entry]], None]
) -> None:
    first, second = now().timestamp() - 9, now().timestamp() - 8
    record([received(NAMED, first)])
    [row] = rows()
    assert (row.state, row.origin, row.external_id) == (RunState.QUEUED, Origin.PROGRAM, NAMED)
    assert "hunter22" not in f"{row.args}{row.kwargs}"
    assert row.received_at is not None
    assert deliver(task, NAMED, (), beatdesk_received=first).retval == 1
    # Received by then, executed later: its row is the one that it is executed as.
    begun = now().timestamp() + 1
    record([received(NAMED, begun), received(NAMED, begun), received(NAMED, second, retries=1)])
    assert [row.state for row in rows()] == [RunState.STARTED, RunState.QUEUED]
    assert deliver(task, NAMED, (), beatdesk_received=begun).retval == 2
    assert [(row.claims, row.external_id) for row in rows()] == [(1, NAMED), (1, NAMED)]


def test_the_row_of_a_message_that_a_task_has_sent_is_its_own(
    task: Task, record: Callable[[list[Entry]], None]
) -> None:
    parent = str(uuid.uuid4())
    record([received(NAMED, now().timestamp(), parent_id=parent, root_id="a root that is no id", group="g")])
    [row] = rows()
    assert (row.origin, row.parent_id) == (Origin.TASK, parent)
    assert is_run_id(row.root_id)
    assert is_run_id(row.group_id)


def test_late_news_settles_an_unconfirmed_run(context: Flask, record: Callable[[list[Entry]], None]) -> None:
    run_id = make_run(RunState.UNCONFIRMED)
    record([Entry(run_id, Event.SUCCEEDED, 0, now(), text="5")])
    [row] = rows()
    assert (row.state, row.result) == (RunState.SUCCEEDED, "5")
