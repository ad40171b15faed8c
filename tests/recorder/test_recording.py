"""Entries of workers are applied in batches, in any order, any number of times, and never move a run backwards."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.events import Entry, Event
from beatdesk.execution.host import Delivery
from tests.runs.making import make_run, make_runs, record
from tests.support import fresh
from tests.visitors import Visitor
from webapp.database.engine import create_engine, now
from webapp.extensions import db
from webapp.run_store import claims
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def test_batch_with_many_of_every_event_is_applied(context: Flask) -> None:
    ids = make_runs(60, state=RunState.STARTED, ended_at=None)
    ends = [Event.SUCCEEDED, Event.FAILED, Event.REVOKED, Event.EXPIRED]
    text = json.dumps({"done": 1, "total": 2, "text": "half"})
    entries = [Entry(run_id, Event.RECEIVED, 0, now()) for run_id in ids]
    entries += [Entry(run_id, Event.RETRYING, 1, now(), text="again") for run_id in ids]
    entries += [Entry(run_id, Event.PROGRESS, 1, now(), text=text) for run_id in ids]
    entries += [Entry(run_id, Event.LINE, 1, now(), text=text, entry_id=run_id) for run_id in ids]
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


def test_of_many_ends_in_a_batch_the_first_that_may_be_counts(context: Flask) -> None:
    run_id, other = make_run(RunState.STARTED, attempt=2), make_run(RunState.STARTED)
    received = now() - timedelta(minutes=1)
    record(
        Entry(run_id, Event.FAILED, 1, now(), text="of the last attempt"),
        Entry(run_id, Event.FAILED, 2, now(), text="of this one", traceback="line"),
        Entry(run_id, Event.REVOKED, 2, now(), text="too late"),
        Entry(other, Event.RECEIVED, 0, received),
        Entry(other, Event.RECEIVED, 0, now()),
        Entry(other, Event.RETRYING, 0, now(), text="once"),
        Entry(other, Event.RETRYING, 1, now(), text='"twice", \\ a tab\t{and} a line\nmore \x00'),
    )
    run = fresh(Run, run_id)
    assert (run.state, run.error, run.traceback, run.reason) == (RunState.FAILED, "of this one", "line", None)
    run = fresh(Run, other)
    assert (run.state, run.attempt, run.received_at) == (RunState.RETRYING, 1, received)
    assert run.reason == '"twice", \\ a tab\t{and} a line\nmore \\u0000'


def published(run_id: str, seconds: float = 0.0, **changed: object) -> Entry:
    values: dict[str, object] = {"task": "add", "args": [1], "kwargs": {}, "queue": "celery", "sealed": None}
    values |= {
        "options": None,
        "group_id": "g",
        "group_index": 3,
        "parent_id": "p",
        "root_id": "r",
        "eta": None,
        "expires_at": None,
    }
    values |= changed
    return Entry(run_id, Event.PUBLISHED, 0, now() + timedelta(seconds=seconds), text=json.dumps(values))


def test_what_a_task_sent_has_its_row_before_it_begins(context: Flask) -> None:
    later = (now() + timedelta(hours=1)).isoformat()
    record(published("a"), published("a"), published("b", eta=later), published("c", eta="no moment"))
    record(Entry("d", Event.PUBLISHED, 0, now(), text="[]"))
    a, b = fresh(Run, "a"), fresh(Run, "b")
    assert (a.state, a.origin, a.args, a.sends) == (RunState.QUEUED, "task", "[1]", 1)
    assert (a.parent_id, a.root_id, a.group_id, a.group_index) == ("p", "r", "g", 3)
    assert (b.state, b.eta is not None) == (RunState.HELD, True)
    assert db.session.get(Run, "c") is None
    assert db.session.get(Run, "d") is None


def test_worker_that_was_quicker_keeps_its_row(context: Flask) -> None:
    run_id = make_run(RunState.SUCCEEDED, origin="task", result="5")
    other = make_run(RunState.SUCCEEDED, origin="launch", args="[2]")
    before = fresh(Run, other).created_at
    record(published(run_id, seconds=-60), published(other, seconds=-60))
    run = fresh(Run, run_id)
    assert (run.state, run.result) == (RunState.SUCCEEDED, "5")
    # It was made when it was sent, and not when a worker began it; other rows are none of it.
    assert now() - run.created_at > timedelta(seconds=50)
    assert fresh(Run, other).created_at == before


def test_each_cause_of_a_retry_is_kept(context: Flask) -> None:
    run_id = make_run(RunState.STARTED)
    causes = [Entry(run_id, Event.RETRYING, n, now(), text=f"cause {n}", entry_id=f"{n}-0") for n in (0, 1)]
    record(*causes)
    record(*causes, Entry(run_id, Event.SUCCEEDED, 2, now() + timedelta(seconds=1), text="1"))
    text = Visitor(context, "viewer").get(f"/runs/{run_id}").text
    assert text.index("Attempt 1 failed") < text.index("cause 0") < text.index("Attempt 2 failed")
    # It ended well: the summary gives no reason.
    assert "<span hx-ignore>cause" not in text


def test_claim_of_a_run_that_has_just_got_its_row_takes_it(context: Flask) -> None:
    def claim(worker_id: str, run_id: str) -> claims.Verdict:
        with db.engine.begin() as connection:
            return claims.claim(connection, Delivery(run_id, "add", "[]", "{}", 0, worker_id, worker_id), now())

    record(published("a"))
    # With a row and without one, the first takes it and the second does not.
    for run_id in ("a", "b"):
        assert claim("one", run_id) is claims.Verdict.CLAIMED
        assert claim("two", run_id) is claims.Verdict.DUPLICATE


def test_claim_takes_a_row_that_is_made_while_it_looks(context: Flask) -> None:
    """The recorder may commit it between the claim and the look at why there was nothing to claim."""
    made: list[str] = []
    run_id = str(uuid.uuid4())

    def make(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if not made and statement.startswith("UPDATE runs SET state = 'started'"):
            made.append(run_id)
            connection.execute(sa.insert(Run).values(id=run_id, task="add", state=RunState.QUEUED, created_at=now()))

    delivery = Delivery(run_id, "add", "[]", "{}", 0, "one", "w@h")
    with db.engine.begin() as connection:
        sa.event.listen(connection, "after_cursor_execute", make)
        assert claims.claim(connection, delivery, now()) is claims.Verdict.CLAIMED
    assert made == [run_id]
    assert fresh(Run, run_id).claims == 1


def test_claim_alone_gives_the_same_result(context: Flask) -> None:
    def claim(worker_id: str, run_id: str) -> claims.Verdict:
        return claims.claim_by_itself(db.engine, Delivery(run_id, "add", "[]", "{}", 0, worker_id, "w@h"), now())

    known = make_run(RunState.QUEUED)
    for run_id in (known, "a run without a row"):
        assert claim("one", run_id) is claims.Verdict.CLAIMED
        assert claim("two", run_id) is claims.Verdict.DUPLICATE
    run = fresh(Run, known)
    assert (run.state, run.claimed_by, run.worker, run.claims) == (RunState.STARTED, "one", "w@h", 1)
    assert run.started_at is not None
    assert claim("one", make_run(RunState.SUCCEEDED)) is claims.Verdict.ENDED


def test_claim_waits_in_line_and_outlives_its_connection(context: Flask) -> None:
    for _ in range(3):
        run_id = make_run(RunState.QUEUED)
        delivery = Delivery(run_id, "add", "[]", "{}", 0, "one", "w@h")
        with _in_the_way(db.engine):
            assert claims.claim_by_itself(db.engine, delivery, now()) is claims.Verdict.CLAIMED


@contextmanager
def _in_the_way(engine: sa.Engine) -> Iterator[None]:
    """SQLite's lock is held by another process for a moment; PostgreSQL has closed all connections, as in a restart."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as writing:
            writing.begin()
            timer = threading.Timer(0.1, writing.rollback)
            timer.start()
            yield
            timer.join()
        return
    other = create_engine(engine.url.render_as_string(hide_password=False))
    with other.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
    other.dispose()
    yield
