"""Old runs are deleted by the admin's rules, a few at a time; unfinished ones, and those that prevent firing, stay."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.host import Delivery
from tests.runs.making import make_run, make_runs
from tests.support import reading
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.run_store import claims
from webapp.run_store.changes import CHANGES, read
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import ENDED, UNENDED, Origin, RunState
from webapp.runs.retention import service as retention

pytestmark = pytest.mark.each_database

DAY = 86_400.0
MANY = 20_000


def kept() -> set[str]:
    with reading():
        return set(db.session.scalars(sa.select(Run.id)))


def clean(found: retention.Rules = retention.DEFAULTS, at: datetime | None = None) -> dict[str, int]:
    db.session.rollback()
    return retention.delete_old(db.engine, found, at or now(), pause=lambda: None, max_seconds=60).deleted


def make_line(run_id: str, entry: str = "1") -> None:
    db.session.execute(sa.insert(RunLine).values(run_id=run_id, entry=entry, at=now(), level="info", text="line"))
    db.session.commit()


def test_each_state_has_its_own_age_and_takes_its_lines_along(context: Flask) -> None:
    old = {state: make_run(state, age=31 * DAY) for state in RunState}
    older = {state: make_run(state, age=91 * DAY) for state in RunState}
    young = make_run(RunState.SUCCEEDED, age=29 * DAY)
    for run_id in (old[RunState.SUCCEEDED], old[RunState.FAILED], young):
        make_line(run_id)
    deleted = clean()
    by_thirty = {RunState.SUCCEEDED, RunState.REVOKED, RunState.EXPIRED, RunState.SKIPPED}
    gone = {old[state] for state in by_thirty} | {older[state] for state in ENDED}
    assert kept() == {*old.values(), *older.values(), young} - gone
    assert deleted == {state: 2 if state in by_thirty else 1 for state in retention.DEFAULTS}
    assert set(retention.DEFAULTS) == ENDED
    assert not set(retention.DEFAULTS) & UNENDED
    with reading():
        assert set(db.session.scalars(sa.select(RunLine.run_id))) == {old[RunState.FAILED], young}


def test_for_ever_is_for_ever_and_what_ended_lately_stays(context: Flask) -> None:
    forever = make_run(RunState.FAILED, age=3000 * DAY)
    long_one = make_run(RunState.SUCCEEDED, age=60 * DAY, ended_at=now() - timedelta(days=1))
    assert clean({**retention.DEFAULTS, RunState.FAILED: None}) == {}
    assert kept() == {forever, long_one}


@contextmanager
def transactions() -> Iterator[list[dict[str, int]]]:
    """The rows that each transaction deletes meanwhile, by table."""
    seen: list[dict[str, int]] = []

    def begin(_: sa.Connection) -> None:
        seen.append({})

    def count(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if statement.startswith("DELETE"):
            table = statement.split()[2]
            seen[-1][table] = seen[-1].get(table, 0) + cursor.rowcount

    sa.event.listen(db.engine, "begin", begin)
    sa.event.listen(db.engine, "after_cursor_execute", count)
    try:
        yield seen
    finally:
        sa.event.remove(db.engine, "begin", begin)
        sa.event.remove(db.engine, "after_cursor_execute", count)


def test_deleting_many_runs_delays_no_other_writer(context: Flask) -> None:
    """No transaction deletes more than a batch, and between any two of them others write without any wait."""
    at = now() - timedelta(days=40)
    rows = [
        {"id": f"{count:08x}-0000-8000-8000-000000000000", "task": "add", "state": "succeeded", "created_at": at}
        for count in range(MANY)
    ]
    for start in range(0, MANY, 5_000):
        db.session.execute(sa.insert(Run), [row | {"ended_at": at} for row in rows[start : start + 5_000]])
    talkative, other = rows[0]["id"], make_run(RunState.STARTED)
    lines = [{"run_id": talkative, "entry": str(n), "at": at, "level": "info", "text": ""} for n in range(5_000)]
    db.session.execute(sa.insert(RunLine), lines)
    db.session.commit()
    writes = 0

    def write_meanwhile() -> None:
        """As a recorder would, but giving up at once where it had to wait. SQLite's own wait is off here."""
        nonlocal writes
        with db.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET LOCAL lock_timeout = '1ms'")
            connection.execute(sa.update(Run).where(Run.id.in_([other, rows[-1]["id"]])).values(claim_seen_at=now()))
            connection.commit()
        writes += 1

    with transactions() as seen:
        done = retention.delete_old(db.engine, retention.DEFAULTS, now(), pause=write_meanwhile, max_seconds=60)
    deleting = [one for one in seen if one]
    assert done == retention.Cleaned({"succeeded": MANY}, finished=True)
    assert max(one.get("runs", 0) for one in deleting) == retention.BATCH_SIZE
    assert max(one["run_lines"] for one in deleting) == retention.LINE_BATCH_SIZE
    assert sum(one["run_lines"] for one in deleting) == 5_000
    assert writes == len(deleting) == MANY // retention.BATCH_SIZE + 2
    assert kept() == {other}


def test_what_there_is_no_time_for_is_left_to_a_further_run(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runs(600, created_at=now() - timedelta(days=40), ended_at=now() - timedelta(days=40))
    monkeypatch.setattr(retention, "MAX_CLEANING_SECONDS", 0)
    reported: list[int] = []
    assert retention.clean(now(), "the-run", reported.append) == {"deleted": {"succeeded": 500}, "finished": False}
    with reading():
        further = db.session.scalars(sa.select(Run).where(Run.parent_id == "the-run")).one()
    assert (further.task, further.state, further.origin) == ("runs.retain", RunState.QUEUED, Origin.TASK)
    assert reported == [500]


def test_message_of_a_deleted_run_is_not_executed(context: Flask) -> None:
    """It may stay for weeks in a queue without consumers, long after its run was cancelled."""
    run = create_run(db.session, "add", [1, 2], origin=Origin.LAUNCH)
    run.state, run.created_at, run.ended_at = RunState.REVOKED, now() - timedelta(days=31), now() - timedelta(days=31)
    db.session.commit()
    assert clean() == {"revoked": 1}
    foreign = str(uuid.uuid4())
    verdicts = {}
    for run_id in (run.id, foreign):
        message = Delivery(run_id, "add", "[1, 2]", "{}", 0, "worker", "w@host")
        with db.engine.begin() as connection:
            verdicts[run_id] = claims.claim(connection, message, now())
    assert verdicts == {run.id: claims.Verdict.ENDED, foreign: claims.Verdict.CLAIMED}
    assert kept() == {foreign}


def test_task_returns_what_it_deleted(context: Flask, redis: redis_client.Redis) -> None:
    ids = make_runs(3, created_at=now() - timedelta(days=40), ended_at=now() - timedelta(days=40))
    celery.loader.import_default_modules()
    result = celery.tasks["runs.retain"]()
    assert result == {"deleted": {"succeeded": 3}, "finished": True}
    # Live pages hear of it.
    assert [set(read(entry).runs or ()) for _, entry in redis.xrange(CHANGES)] == [set(ids)]
    make_run(task="runs.retain", result=json.dumps(result))
    last = retention.last_cleaning()
    assert last is not None
    assert last.deleted == {"succeeded": 3}
