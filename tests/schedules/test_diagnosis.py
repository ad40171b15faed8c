from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from kombu import Exchange, Queue

from tests.visitors import Visitor
from webapp.database.engine import UtcDateTime, now
from webapp.extensions import celery, db
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.schedule_store.beat_models import Beat, ScheduleProgress
from webapp.schedule_store.models import ScheduleDetail
from webapp.schedule_store.rows import TASKS
from webapp.schedules import service

DUE = datetime(2026, 1, 5, 7, 30, tzinfo=UTC)


@pytest.fixture
def number(app: Flask) -> int:
    """A schedule that is old enough, with everything that it takes to run."""
    fields = {"task": "add", "args": [1, 2], "kind": "crontab", "crontab": "30 8 * * *", "timezone": "Europe/Berlin"}
    with app.app_context():
        made = service.create({**fields, "name": "Sums", "queue": "slow"}).id
        long_ago = DUE - timedelta(days=9)
        db.session.execute(sa.update(ScheduleDetail).values(changed_at=long_ago))
        db.session.add(
            Beat(id="b", host="alpha", pid=1, leading=True, revision=10_000, applied_at=now(), started_at=long_ago)
        )
        worker = Worker(id="w", name="w@alpha", host="alpha", pid=2, pool="solo", concurrency=1)
        worker.queues, worker.tasks = '["slow"]', '["add"]'
        db.session.add(worker)
        db.session.commit()
        db.session.remove()
    return made


def change(app: Flask, *statements: Any) -> None:
    with app.app_context():
        for statement in statements:
            db.session.execute(statement)
        db.session.commit()
        db.session.remove()


def run(app: Flask, number: int, state: str, **values: Any) -> None:
    with app.app_context():
        db.session.add(Run(id=str(uuid.uuid4()), task="add", state=state, schedule_id=number, due_at=DUE, **values))
        db.session.commit()
        db.session.remove()


def ask(visitor: Visitor, number: int, due: str = f"?due={DUE:%Y-%m-%dT%H:%M}Z") -> Any:
    return visitor.get(f"/schedules/{number}/why{due}", accept="application/json").get_json()


def broken(visitor: Visitor, number: int) -> tuple[str | None, str]:
    """The first broken link and what was found."""
    found = ask(visitor, number)
    text = next((link["found"] for link in found["links"] if link["name"] == found["broken"]), "")
    return found["broken"], text


def test_when_all_is_well_every_link_holds(app: Flask, scheduler: Visitor, number: int) -> None:
    at = DUE + timedelta(seconds=1)
    run(app, number, "succeeded", queue="slow", started_at=at, ended_at=at + timedelta(seconds=4), worker="w@alpha")
    # What the run came through held then, whatever is the case now.
    change(app, sa.update(TASKS).values(enabled=False), sa.delete(Beat), sa.delete(Worker))
    found = ask(scheduler, number)
    assert (found["broken"], [link["holds"] for link in found["links"]]) == (None, [True] * 8)
    page = scheduler.get(f"/schedules/{number}/why?due={DUE:%Y-%m-%dT%H:%M}Z").text
    assert "The run succeeded. No problem found" in page
    assert "It succeeded after 4.0 s." in page
    assert "It is disabled now." in page


WITHOUT_RUN = [
    (sa.update(TASKS).values(enabled=False), ("Schedule", "disabled")),
    (sa.update(TASKS).values(args="oops"), ("Schedule", "cannot run")),
    (sa.update(ScheduleDetail).values(ends_at=DUE), ("Schedule", "It has no further runs")),
    (sa.update(ScheduleDetail).values(paused_at=DUE, pause_reason="moving"), ("Pause", "paused: moving")),
    (
        sa.update(ScheduleDetail).values(paused_at=DUE + timedelta(days=1)),
        ("Occurrence", "was before the last edit"),
    ),
    (sa.delete(Beat), ("Beat", "Beat is not running")),
    (sa.update(Beat).values(seen_at=DUE), ("Beat", "Beat is not running. Last seen")),
    (sa.update(Beat).values(leading=False), ("Beat", "without a leader")),
    (sa.update(Beat).values(revision=0), ("Beat", "has not loaded the last edit")),
]
SPENT = sa.insert(ScheduleProgress).from_select(
    ["schedule_id", "last_due_at", "runs"], sa.select(TASKS.c.id, sa.literal(DUE, UtcDateTime), sa.literal(2))
)


def test_every_page_names_the_limit_that_disabled_a_schedule(app: Flask, scheduler: Visitor, number: int) -> None:
    change(app, SPENT, sa.update(TASKS).values(enabled=False), sa.update(ScheduleDetail).values(max_runs=2))
    said = "It has reached its maximum of 2 runs."
    assert broken(scheduler, number) == ("Schedule", said)
    for path in ("/schedules", f"/schedules/{number}", f"/schedules/{number}/why"):
        assert said in scheduler.get(path).text, path
    read = scheduler.get(f"/schedules/{number}", accept="application/json").get_json()
    assert (read["finished"], read["runs"], read["max_runs"], len(read["next"])) == (said, 2, 2, 2)


QUEUED = [
    (sa.update(Run).values(sent_at=None), ("Broker", "the message was not sent")),
    (sa.update(Worker).values(queues='["other"]'), ("Queue", "“slow”")),
    (sa.update(Worker).values(seen_at=DUE), ("Queue", "No online worker")),
    (sa.update(Worker).values(tasks="[]"), ("Task", "No worker on this queue has registered add")),
    (
        sa.insert(Worker).values(
            id="v", name="v@beta", host="beta", pid=3, pool="solo", concurrency=1, queues='["slow"]'
        ),
        ("Task", "v@beta consumes this queue but has not registered add"),
    ),
    (
        sa.update(Run).values(state="started", started_at=DUE, claim_seen_at=DUE),
        ("Result", "It started, but its worker was last seen"),
    ),
]


@pytest.mark.parametrize(("statement", "expected"), WITHOUT_RUN)
def test_it_names_the_first_broken_link_of_what_was_not_fired(
    app: Flask, scheduler: Visitor, number: int, statement: Any, expected: tuple[str, str]
) -> None:
    change(app, statement)
    found, said = broken(scheduler, number)
    assert found == expected[0]
    assert expected[1] in said


@pytest.mark.parametrize(("statement", "expected"), QUEUED)
def test_it_names_the_first_broken_link_of_what_waits(
    app: Flask, scheduler: Visitor, number: int, statement: Any, expected: tuple[str, str]
) -> None:
    run(app, number, "queued", queue="slow", sent_at=DUE, created_at=DUE)
    change(app, statement)
    found, said = broken(scheduler, number)
    assert found == expected[0]
    assert expected[1] in said


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("missed", "beat was not running", ("Occurrence", "was missed: beat was not running")),
        ("skipped", "paused: moving", ("Pause", "It was skipped: paused: moving")),
        ("skipped", "the run before it has not ended", ("Occurrence", "was skipped: the run before it has not ended")),
        ("failed", "ValueError: no", ("Result", "failed: ValueError: no")),
        ("expired", None, ("Result", "expired before it started")),
        ("unconfirmed", "no result came", ("Result", "It is unconfirmed: no result came")),
    ],
)
def test_it_reads_the_run(  # noqa: PLR0917  # fixtures
    app: Flask, scheduler: Visitor, number: int, state: str, reason: str | None, expected: tuple[str, str]
) -> None:
    run(app, number, state, reason=reason, queue="slow")
    found, said = broken(scheduler, number)
    assert found == expected[0]
    assert expected[1] in said


def test_a_queue_that_workers_of_others_take_from(app: Flask, scheduler: Visitor, number: int) -> None:
    run(app, number, "queued", queue="slow", sent_at=DUE, created_at=DUE)
    seen = {"first_seen_at": now(), "seen_at": now()}
    change(app, sa.insert(QueueConsumer).values(queue="slow", node="celery@shop", claims=False, **seen))
    with broker.connect(app.extensions["settings"].broker_url) as client:
        client.lpush("slow", "{}", "{}")
    links = {link["name"]: link for link in ask(scheduler, number)["links"]}
    assert links["Queue"]["holds"] is None
    assert "do not report to Beatdesk (celery@shop)" in links["Queue"]["found"]
    assert "2 messages waiting" in links["Queue"]["found"]
    page = scheduler.get("/queues").text
    assert "not guarded" in page
    assert "celery@shop" in page


def test_the_queue_is_looked_at_to_which_the_exchange_leads(app: Flask, scheduler: Visitor, number: int) -> None:
    run(app, number, "queued", sent_at=DUE, created_at=DUE, options='{"exchange": "events", "routing_key": "sums"}')
    assert broken(scheduler, number) == (
        "Queue",
        "No queue is bound to the exchange “events” with the routing key “sums”.",
    )
    with celery.connection_for_write() as connection:
        Queue("slow", Exchange("events"), "sums")(connection.default_channel).declare()
    assert broken(scheduler, number)[0] is None
    change(app, sa.update(Worker).values(queues='["beatdesk"]'))
    assert broken(scheduler, number) == ("Queue", "No online worker consumes the queue “slow”.")


def test_an_exchange_alone_changes_nothing(app: Flask, scheduler: Visitor, number: int) -> None:
    change(app, sa.update(TASKS).values(exchange="events"), sa.update(Worker).values(queues='["beatdesk"]'))
    links = {link["name"]: link["found"] for link in ask(scheduler, number)["links"]}
    assert links["Queue"] == "No online worker consumes the queue “slow”."
    change(app, sa.update(TASKS).values(routing_key="sums"))
    links = {link["name"]: link["found"] for link in ask(scheduler, number)["links"]}
    assert links["Queue"] == "No queue is bound to the exchange “events” with the routing key “sums”."


@pytest.mark.parametrize("state", ["queued", "started", "succeeded"])
def test_a_run_by_hand_that_has_not_ended_is_named(app: Flask, scheduler: Visitor, number: int, state: str) -> None:
    hour_ago = now() - timedelta(hours=1)
    run(app, number, "missed", reason="beat was not running")
    with app.app_context():
        by_hand = Run(id=str(uuid.uuid4()), task="add", state=state, schedule_id=number, queue="slow")
        by_hand.created_at, unended = hour_ago, by_hand.id if state != "succeeded" else None
        db.session.add(by_hand)
        db.session.commit()
    found = ask(scheduler, number)
    assert found["by_hand"] == unended
    expected = {
        "queued": "This due time has no run. The run started manually 60 min ago is queued in “slow”.",
        "started": "This due time has no run. The run started manually 60 min ago is started.",
        "succeeded": "There is no run to check.",
    }
    assert found["links"][-1]["found"].replace("1 h", "60 min") == expected[state]
    page = scheduler.get(f"/schedules/{number}/why?due={DUE:%Y-%m-%dT%H:%M}Z").text
    assert ("started manually" in page) is (unended is not None)


def test_missed_before_any_beat_of_now_was_there(app: Flask, scheduler: Visitor, number: int) -> None:
    run(app, number, "missed", reason="beat was not running")
    change(app, sa.update(Beat).values(started_at=now() - timedelta(hours=2)))
    found, said = broken(scheduler, number)
    assert found == "Beat"
    assert "beat on alpha was started 2 h ago" in said


def test_due_time_without_a_run_is_named(scheduler: Visitor, number: int) -> None:
    assert broken(scheduler, number)[1].startswith("Beat has not processed")
    # Who names no time means the first one after the last that beat, or the edit, accounts for.
    assert ask(scheduler, number, "")["due_at"] == f"{DUE - timedelta(days=8):%Y-%m-%d}T07:30:00Z"


def test_a_time_at_which_it_is_not_due(scheduler: Visitor, number: int) -> None:
    found = ask(scheduler, number, "?due=2026-01-05T07:31Z")
    assert found["broken"] == "Occurrence"
    assert "The schedule is not due at" in scheduler.get(f"/schedules/{number}/why?due=2026-01-05T07:31Z").text


def test_a_broker_that_is_away(app: Flask, scheduler: Visitor, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise broker.BrokerAway("no server listens there")

    run(app, number, "queued")
    monkeypatch.setattr(broker, "ping", away)
    assert broken(scheduler, number) == ("Broker", "The broker does not answer: no server listens there")
