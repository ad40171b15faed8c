"""What adopted workers did and claimed, by entries of the stream, and their presence, become rows."""

from __future__ import annotations

import json
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from flask import Flask

from beatdesk.adopted.claims import WORKER_KEY, WORKERS_KEY
from beatdesk.execution.events import Entry, Event
from tests.runs.making import make_run, record
from tests.support import fresh
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder.adopted_workers import AdoptedWorkers
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.run_store.worker_models import Worker

pytestmark = pytest.mark.each_database

ROW = {
    "task": "shop.pay", "args": "[1]", "kwargs": "{}", "sealed": None, "queue": "shop", "options": None,
    "group_id": None, "group_index": None, "parent_id": None, "root_id": None, "external_id": "theirs",
    "eta": None, "expires_at": None, "origin": "program",
}  # fmt: skip


def entry(run_id: str, event: Event, attempt: int = 0, *, by: str | None = "w", **more: Any) -> Entry:
    claim = json.dumps({"by": by, **more.pop("row", {})}) if by else ""
    return Entry(run_id, event, attempt, now(), worker="shop@h", entry_id="1-0", claim=claim, **more)


def test_a_claim_begins_a_run_once(context: Flask) -> None:
    run_id = make_run(RunState.QUEUED)
    begun = entry(run_id, Event.STARTED)
    for _ in range(2):
        record(begun)
        run = fresh(Run, run_id)
        assert (run.state, run.claims, run.claimed_by, run.worker) == (RunState.STARTED, 1, "w", "shop@h")
        assert run.started_at == begun.at
        assert run.claim_seen_at is not None
    record(entry(run_id, Event.SUCCEEDED, by=None, text="1"), begun)
    assert fresh(Run, run_id).state == RunState.SUCCEEDED


def test_the_end_of_a_short_run_has_its_claim_and_its_row(context: Flask) -> None:
    run_id, began = str(uuid.uuid4()), now() - timedelta(seconds=1)
    record(entry(run_id, Event.SUCCEEDED, text='"paid"', began=began, row={"row": ROW}))
    run = fresh(Run, run_id)
    assert (run.state, run.result, run.task, run.args) == (RunState.SUCCEEDED, '"paid"', "shop.pay", "[1]")
    assert (run.origin, run.external_id, run.queue, run.started_at) == (Origin.PROGRAM, "theirs", "shop", began)


def test_an_end_that_is_recorded_before_its_start_is_not_lost(context: Flask) -> None:
    run_id, end = str(uuid.uuid4()), now()
    record(entry(run_id, Event.SUCCEEDED, text='"paid"', seconds=1.0, row={"row": ROW})._replace(at=end))
    record(entry(run_id, Event.STARTED, row={"row": ROW}))
    run = fresh(Run, run_id)
    assert (run.state, run.claims, run.started_at) == (RunState.SUCCEEDED, 1, end - timedelta(seconds=1))


def test_attempts_in_one_batch_and_one_by_one_end_alike(context: Flask) -> None:
    ids = [make_run(RunState.QUEUED) for _ in range(2)]
    told = [
        [entry(run_id, Event.RETRYING, 0, text="x"), entry(run_id, Event.SUCCEEDED, 1, by="v", text="1")]
        for run_id in ids
    ]
    record(*told[0])
    for one in told[1]:
        record(one)
    # What is repeated later changes nothing.
    for one in told[1]:
        record(one)
    for run_id in ids:
        run = fresh(Run, run_id)
        assert (run.state, run.attempt, run.claimed_by) == (RunState.SUCCEEDED, 1, "v")


def test_a_run_whose_task_replaced_itself_waits_for_that(context: Flask) -> None:
    run_id = make_run(RunState.QUEUED)
    replacement = json.dumps({"task": "shop.other", "args": [], "kwargs": {}, "options": {"queue": "other"}})
    told = {"by": "w", "reason": "It replaced itself with shop.other", "replaced": 1, "replacement": replacement}
    released = entry(run_id, Event.RELEASED, text=json.dumps(told))
    record(released)
    run = fresh(Run, run_id)
    assert (run.state, run.queue, run.claimed_by) == (RunState.QUEUED, "other", "replaced 1 times")
    assert "shop.other" in str(run.options)
    record(entry(run_id, Event.STARTED, by="v"))
    assert fresh(Run, run_id).claimed_by == "v"


def test_a_message_that_its_task_gives_back_waits_again(context: Flask) -> None:
    run_id = make_run(RunState.QUEUED)
    record(entry(run_id, Event.RELEASED, text=json.dumps({"by": "w", "reason": "not now"})))
    run = fresh(Run, run_id)
    assert (run.state, run.claimed_by, run.claims, run.reason) == (RunState.QUEUED, None, 0, "not now")


@pytest.mark.parametrize(("before", "after"), [("queued", "unconfirmed"), ("started", "started"), ("failed", "failed")])
def test_only_what_waits_becomes_unconfirmed(context: Flask, before: str, after: str) -> None:
    run_id = make_run(RunState(before))
    record(entry(run_id, Event.UNCONFIRMED, by=None, text="Redis may have lost it"))
    assert fresh(Run, run_id).state == after


@pytest.mark.parametrize("text", ["", "[]", '{"by": 5}', '{"by": "w", "replacement": "x", "replaced": 1}', "{"])
def test_what_cannot_be_read_is_set_aside(context: Flask, text: str) -> None:
    run_id = make_run(RunState.QUEUED)
    bad = Entry(run_id, Event.STARTED, 0, now(), claim=text or "x", entry_id="1-0")
    record(bad, Entry(run_id, Event.RELEASED, 0, now(), text="[]"))
    assert fresh(Run, run_id).claimed_by in {None, "w"}


def told(**changes: Any) -> str:
    said = {
        "name": "shop@h", "host": "h", "pid": 7, "pool": "prefork", "concurrency": 2, "queues": ["shop"],
        "tasks": ["shop.pay"], "acks_late": ["shop.pay"], "running": [], "processes": ",7,8,",
        "versions": {"python": "3.11", "celery": "5.4", "kombu": "5.4"}, "started": time.time(), "at": time.time(),
    }  # fmt: skip
    return json.dumps({**said, **changes})


def test_presence_becomes_a_row_and_renews_what_the_worker_executes(context: Flask, redis: redis_client.Redis) -> None:
    run_id = make_run(RunState.STARTED, claimed_by="w", claim_seen_at=now() - timedelta(hours=1))
    workers = AdoptedWorkers()
    redis.sadd(WORKERS_KEY, "w", "gone")
    redis.set(WORKER_KEY.format(worker_id="w"), told(running=[run_id], at=1))
    workers.keep(db.engine, redis)
    row = fresh(Worker, "w")
    assert (row.kind, row.name, row.pid, row.queues) == ("adopted", "shop@h", 7, '["shop"]')
    assert (fresh(Run, run_id).claim_seen_at or now() - timedelta(hours=1)) > now() - timedelta(minutes=1)
    assert redis.smembers(WORKERS_KEY) == {"w"}
    assert "adopted" in Visitor(context, "viewer").get("/workers").text
    # A worker that tells nothing new is not seen, although its key is still there.
    db.session.query(Worker).update({"seen_at": now() - timedelta(hours=1)})
    db.session.commit()
    workers.keep(db.engine, redis)
    assert now() - fresh(Worker, "w").seen_at > timedelta(minutes=1)
    redis.set(WORKER_KEY.format(worker_id="w"), told(at=2, stopped=True))
    workers.keep(db.engine, redis)
    assert fresh(Worker, "w").stopped_at is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"pid": "x", "name": "n"}',
        '{"pid": 1, "name": "n"}',
        "null",
        told(started=1e30),
        told(versions=[]),
    ],
)
def test_presence_that_cannot_be_read_is_no_worker(context: Flask, redis: redis_client.Redis, text: str) -> None:
    redis.sadd(WORKERS_KEY, "w")
    redis.set(WORKER_KEY.format(worker_id="w"), text)
    AdoptedWorkers().keep(db.engine, redis)
    assert db.session.get(Worker, "w") is None
