"""No run is lost, whatever created it and whichever server is down."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa

from tests.scheduler.beats import RUNS, FakeTime, Rig
from tests.servers import wait_for
from webapp.extensions import celery
from webapp.run_store import observed_workers
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.scheduler.core import Core
from webapp.scheduler.foreign.consumers import ConsumerLog
from webapp.scheduler.recovery import MARK_KEY

pytestmark = pytest.mark.each_database


def now() -> datetime:
    return datetime.now(UTC)


def _run(beats: Rig, id_: str, **values: Any) -> None:
    with beats.engine.begin() as connection:
        connection.execute(sa.insert(RUNS).values(id=id_, task="add", args="[1, 2]", kwargs="{}", **values))


def _row(beats: Rig, id_: str) -> Any:
    with beats.engine.connect() as connection:
        return connection.execute(sa.select(RUNS).where(RUNS.c.id == id_)).one()


def _consumes(beats: Rig, *queues: str, claims: bool = True) -> None:
    """Have a worker that claims runs consume these queues."""
    with beats.engine.begin() as connection:
        rows = [{"queue": queue, "node": "w@h", "claims": claims} for queue in queues]
        connection.execute(sa.insert(QueueConsumer).values(first_seen_at=now(), seen_at=now()), rows)


def _messages(redis: redis_client.Redis, queue: str = "beatdesk") -> list[str]:
    return [json.loads(raw)["headers"]["id"] for raw in redis.lrange(queue, 0, -1)]


def _led(beats: Rig) -> tuple[FakeTime, Core]:
    time = FakeTime(now())
    return time, beats.leading(time)


def _until(core: Core, time: FakeTime, what: Callable[[], Any]) -> None:
    """Let beat look, a second at a time, until something has happened."""

    def look() -> Any:
        core.step(woken=True)
        wait_for(lambda: core.publisher.idle)
        time.pass_by(1)
        return what()

    wait_for(look)


def test_unsent_runs_are_sent(beats: Rig, redis: redis_client.Redis) -> None:
    _run(beats, "old", created_at=now() - timedelta(seconds=10))
    _run(beats, "fresh", created_at=now() + timedelta(seconds=5))
    _run(beats, "of a host whose clock is ahead", created_at=now() + timedelta(hours=1))
    time, core = _led(beats)
    _until(core, time, lambda: _row(beats, "old").sent_at)
    assert sorted(_messages(redis)) == ["of a host whose clock is ahead", "old"]
    assert _row(beats, "old").sends == 1
    assert _row(beats, "fresh").sent_at is None


def test_a_run_that_expired_before_it_was_sent_is_ended(beats: Rig, redis: redis_client.Redis) -> None:
    _run(beats, "late", created_at=now() - timedelta(seconds=60), expires_at=now() - timedelta(seconds=30))
    time, core = _led(beats)
    _until(core, time, lambda: _row(beats, "late").state == "expired")
    assert _row(beats, "late").ended_at is not None
    assert _messages(redis) == []


def test_held_runs_are_released_at_their_eta(beats: Rig, redis: redis_client.Redis) -> None:
    eta = now() + timedelta(seconds=30)
    _run(beats, "held", state="held", eta=eta)
    time, core = _led(beats)
    core.step(woken=True)
    assert core.step() <= 0.5
    time.go_to(eta.timestamp() - 0.2)
    assert core.step(woken=True) == pytest.approx(0.2, abs=0.05)
    assert _row(beats, "held").state == "held"
    time.pass_by(0.2)
    core.step()
    assert _row(beats, "held").state == "queued"
    wait_for(lambda: _messages(redis) == ["held"])


def test_what_others_may_have_taken_is_never_sent_again(beats: Rig, redis: redis_client.Redis) -> None:
    """Sent long ago, sent by a task with a countdown, begun by a worker that is lost, forgotten by the broker."""
    past = now() - timedelta(minutes=5)
    _consumes(beats, "mixed")
    _consumes(beats, "mixed", claims=False)
    sent = {"queue": "mixed", "sent_at": past, "sends": 1, "created_at": past}
    _run(beats, "sent", **sent)
    _run(beats, "countdown", state="held", eta=now() - timedelta(seconds=1), **sent)
    _run(beats, "lost", state="started", claims=1, claimed_by="gone", claim_seen_at=past, **sent)
    time, core = _led(beats)
    for _ in range(4):
        redis.flushall()
        core.step(woken=True)
        wait_for(lambda: core.publisher.idle)
        time.pass_by(60)
    assert [(_row(beats, id_).state, _row(beats, id_).sends) for id_ in ("sent", "countdown")] == [("queued", 1)] * 2
    assert _row(beats, "lost").state == "failed"
    assert "not sent again, because workers that do not claim runs" in _row(beats, "lost").error
    assert _messages(redis, "mixed") == []


def test_an_emptied_broker_gets_everything_again_with_the_same_ids(beats: Rig, redis: redis_client.Redis) -> None:
    made = beats.interval("i", 1, saved=now())
    time, core = _led(beats)
    time.pass_by(3.5)
    _until(core, time, lambda: redis.get(MARK_KEY) and all(run.sent_at for run in beats.runs(made)))
    beats.execute("UPDATE celery_periodictask SET enabled = false")
    core.step(woken=True)
    before = sorted(run.id for run in beats.runs(made))
    assert len(before) >= 3
    redis.flushall()
    # More often is no harm: they have one id, and a slow machine may look twice. It is noted after the message came.
    _until(core, time, lambda: sorted(set(_messages(redis))) == before)
    _until(core, time, lambda: min(run.sends for run in beats.runs(made)) >= 2)


def test_of_an_emptied_broker_nothing_is_sent_that_another_program_had_sent(
    beats: Rig, redis: redis_client.Redis
) -> None:
    """Nor is a run left waiting for an attempt whose message is lost: it is sent as that attempt."""
    sent = {"sent_at": now(), "sends": 1}
    _run(beats, "ours", **sent)
    _run(beats, "theirs", origin="program", **sent)
    _run(beats, "between two attempts", state="retrying", attempt=1, claims=2, **sent)
    time, core = _led(beats)
    _until(core, time, lambda: redis.get(MARK_KEY))
    redis.flushall()
    _until(core, time, lambda: set(_messages(redis)) == {"ours", "between two attempts"})
    row = _row(beats, "between two attempts")
    assert (row.state, row.attempt) == ("queued", 2)
    assert (_row(beats, "theirs").state, _row(beats, "theirs").sends) == ("queued", 1)


def test_twenty_come_due_while_the_broker_is_away(
    beats: Rig, redis: redis_client.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [
        beats.interval(f"s{number}", 3600, saved=now(), details={"anchor": now() + timedelta(seconds=2)})
        for number in range(20)
    ]
    time, core = _led(beats)
    wait_for(lambda: core.publisher.idle)
    celery.conf.broker_write_url = "redis://127.0.0.1:1/0"
    core.publisher.call(lambda sender: sender.close())
    try:
        time.pass_by(2.5)
        core.step(woken=True)
        # What is due is created in time, and beat goes on.
        assert [len(beats.runs(made)) for made in ids] == [1] * 20
        wait_for(lambda: core.publisher.broker_away)
        core.step(woken=True)
    finally:
        # Taken away, not set back: it would outlive this test's broker.
        celery.conf.changes.pop("broker_write_url")
    _until(core, time, lambda: all(run.sent_at for run in beats.runs()))
    assert sorted(_messages(redis)) == sorted(run.id for run in beats.runs())
    lines = [record.message for record in caplog.records if "broker is" in record.message]
    assert [line.split(":")[0] for line in lines] == ["The broker is away", "The broker is back."]


def test_a_broker_set_back_gets_what_came_later_again(beats: Rig, redis: redis_client.Redis) -> None:
    time, core = _led(beats)
    _until(core, time, lambda: redis.get(MARK_KEY))
    snapshot = redis.get(MARK_KEY)
    time.pass_by(30)
    _run(beats, "lost", created_at=now(), sent_at=now() + timedelta(seconds=30), sends=1)
    _run(beats, "there", created_at=now(), sent_at=now() - timedelta(seconds=20), sends=1)
    redis.lpush("beatdesk", "{}")
    _until(core, time, lambda: redis.get(MARK_KEY) != snapshot)
    assert _row(beats, "lost").sends == 1
    redis.set(MARK_KEY, snapshot)
    _until(core, time, lambda: _row(beats, "lost").sends == 2)
    assert _row(beats, "there").sends == 1


def test_a_run_in_no_queue_is_sent_again(beats: Rig, redis: redis_client.Redis) -> None:
    _run(beats, "gone", created_at=now(), sent_at=now() - timedelta(seconds=40), sends=1, queue="quiet")
    _run(beats, "waits", created_at=now(), sent_at=now() - timedelta(seconds=40), sends=1, queue="busy")
    _run(beats, "again", created_at=now(), sent_at=now() - timedelta(seconds=40), sends=2, queue="quiet")
    redis.lpush("busy", "{}")
    _consumes(beats, "quiet", "busy")
    redis.set(MARK_KEY, now().isoformat())
    _, core = _led(beats)
    core.publisher.call(core.recovery._look_at_queues)
    wait_for(lambda: _row(beats, "gone").sent_at is None)
    assert _row(beats, "waits").sent_at is not None
    assert _row(beats, "again").sent_at is not None


@pytest.mark.parametrize(
    ("claims", "seen", "state"),
    [(1, 60, "queued"), (4, 60, "failed"), (1, 0, "started")],
    ids=["lost once", "lost too often", "alive"],
)
def test_claims_whose_worker_died(beats: Rig, claims: int, seen: int, state: str) -> None:
    past = now() - timedelta(seconds=60)
    with beats.engine.begin() as connection:
        statement = sa.insert(Worker).values(
            id="w", name="w@h", host="h", pid=1, pool="solo", concurrency=1, seen_at=now() - timedelta(seconds=seen)
        )
        connection.execute(statement)
    _run(beats, "r", state="started", claims=claims, claimed_by="w", claim_seen_at=past, created_at=past, sent_at=past)
    _, core = _led(beats)
    wait_for(lambda: core.publisher.idle)
    core.step(woken=True)
    row = _row(beats, "r")
    assert row.state == state
    if state == "queued":
        assert (row.claimed_by, row.reason) == (None, "its worker was lost")
        wait_for(lambda: _row(beats, "r").sends == 1)
    if state == "failed":
        assert row.error == "WorkerLost: its worker was lost 4 times"
        assert row.ended_at is not None


@pytest.mark.parametrize(("late_tasks", "state"), [('["add"]', "queued"), ('["other"]', "failed")])
def test_claim_of_a_lost_adopted_worker_is_given_to_another_where_its_task_is_acknowledged_late(
    beats: Rig, late_tasks: str, state: str
) -> None:
    past = now() - timedelta(seconds=60)
    adopted = {"kind": Worker.ADOPTED, "late_tasks": late_tasks}
    with beats.engine.begin() as connection:
        worker = {"id": "w", "name": "w@h", "host": "h", "pid": 1, "pool": "solo", "concurrency": 1, "seen_at": past}
        connection.execute(sa.insert(Worker).values(**worker, **adopted))
    _run(beats, "r", state="started", claims=1, claimed_by="w", claim_seen_at=past, created_at=past, sent_at=past)
    _, core = _led(beats)
    wait_for(lambda: core.publisher.idle)
    core.step(woken=True)
    row = _row(beats, "r")
    assert row.state == state
    assert state == "queued" or "does not have acks_late" in row.error


@pytest.mark.parametrize(
    ("stopped", "others", "known"),
    [(True, False, set()), (False, False, {"shop@h"}), (True, True, {"shop@h"})],
    ids=["it said so", "it is silent", "another one of that name"],
)
def test_a_consumer_that_said_that_it_stops_is_none_any_more(
    beats: Rig, stopped: bool, others: bool, known: set[str]
) -> None:
    past, at = now() - timedelta(hours=1), now()
    with beats.engine.begin() as connection:
        seen = {"first_seen_at": past, "seen_at": past}
        connection.execute(sa.insert(QueueConsumer).values(queue="shop", node="shop@h", claims=False, **seen))
        rows = [(1, at if stopped else None), *([(2, None)] if others else [])]
        seen_now = [("shop@h", pid, "celery", 0, past, at, stopped_at) for pid, stopped_at in rows]
        observed_workers.keep_workers(connection, seen_now, at)
        ConsumerLog().record(connection, [], at)
        assert set(connection.scalars(sa.select(QueueConsumer.node))) == known
