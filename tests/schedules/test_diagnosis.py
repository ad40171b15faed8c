from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.schedules.acting import Visitor, number_of
from webapp import broker
from webapp.database import now
from webapp.extensions import db
from webapp.runs.models import Run
from webapp.scheduler.models import Beat
from webapp.schedules.models import ScheduleDetail
from webapp.schedules.stored import TASKS
from webapp.workers.models import Worker

Filled = Callable[..., dict[str, Any]]
DUE = datetime(2026, 1, 5, 7, 30, tzinfo=UTC)


@pytest.fixture
def number(app: Flask, scheduler: Visitor, filled: Filled) -> int:
    """A schedule that is old enough, with everything that it takes to run."""
    made = number_of(scheduler.post("/schedules", filled(queue="slow")))
    with app.app_context():
        db.session.execute(sa.update(ScheduleDetail).values(changed_at=DUE - timedelta(days=9)))
        db.session.add(Beat(id="b", host="alpha", pid=1, leading=True, revision=10_000, applied_at=now()))
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


def broken(visitor: Visitor, number: int) -> tuple[str | None, str]:
    """The first broken link and what was found."""
    found = visitor.read(f"/schedules/{number}/why?due={DUE:%Y-%m-%dT%H:%M}Z")
    text = next((link["found"] for link in found["links"] if link["name"] == found["broken"]), "")
    return found["broken"], text


def test_when_all_is_well_every_link_holds(app: Flask, scheduler: Visitor, number: int) -> None:
    run(app, number, "succeeded")
    assert broken(scheduler, number) == (None, "")
    assert "Every link holds" in scheduler.get(f"/schedules/{number}/why?due={DUE:%Y-%m-%dT%H:%M}Z").text


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (sa.update(TASKS).values(enabled=False), ("Schedule", "disabled")),
        (sa.update(TASKS).values(args="oops"), ("Schedule", "cannot fire")),
        (sa.update(ScheduleDetail).values(paused_at=DUE, pause_reason="moving"), ("Schedule", "paused: moving")),
        (sa.update(ScheduleDetail).values(ends_at=DUE), ("Schedule", "Nothing of it comes due any more")),
        (sa.delete(Beat), ("Beat", "No beat is running")),
        (sa.update(Beat).values(seen_at=DUE), ("Beat", "No beat is running. The last one was seen")),
        (sa.update(Beat).values(leading=False), ("Beat", "none leads")),
        (sa.update(Beat).values(revision=0), ("Beat", "does not know the last edit")),
        (sa.update(Worker).values(queues='["other"]'), ("Queue", "“slow”")),
        (sa.update(Worker).values(seen_at=DUE), ("Queue", "No worker that is alive")),
        (sa.update(Worker).values(tasks="[]"), ("Task", "No worker of that queue knows add")),
    ],
)
def test_it_names_the_first_broken_link(
    app: Flask, scheduler: Visitor, number: int, statement: Any, expected: tuple[str, str]
) -> None:
    run(app, number, "queued")
    change(app, statement)
    found, said = broken(scheduler, number)
    assert found == expected[0]
    assert expected[1] in said


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("missed", "no beat fired it in time", ("Occurrence", "was missed: no beat fired it in time")),
        ("skipped", "paused", ("Occurrence", "was skipped: paused")),
        ("failed", "ValueError: no", ("Result", "failed: ValueError: no")),
        ("expired", None, ("Result", "expired before it began")),
    ],
)
def test_it_reads_the_run(  # noqa: PLR0917  # fixtures
    app: Flask, scheduler: Visitor, number: int, state: str, reason: str | None, expected: tuple[str, str]
) -> None:
    run(app, number, state, reason=reason)
    found, said = broken(scheduler, number)
    assert found == expected[0]
    assert expected[1] in said


def test_a_due_time_that_nobody_accounted_for(scheduler: Visitor, number: int) -> None:
    assert broken(scheduler, number)[1].startswith("Nobody has accounted for")


def test_a_time_at_which_it_is_not_due(scheduler: Visitor, number: int) -> None:
    found = scheduler.read(f"/schedules/{number}/why?due=2026-01-05T07:31Z")
    assert found["broken"] == "Occurrence"
    assert "does not come due" in scheduler.get(f"/schedules/{number}/why?due=2026-01-05T07:31Z").text


def test_a_broker_that_is_away(app: Flask, scheduler: Visitor, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise broker.BrokerAway("nobody listens there")

    run(app, number, "queued")
    monkeypatch.setattr(broker, "check", away)
    assert broken(scheduler, number) == ("Broker", "The broker does not answer: nobody listens there")


def test_a_dry_run_says_who_would_take_it_and_sends_nothing(app: Flask, scheduler: Visitor, number: int) -> None:
    found = scheduler.send(f"/schedules/{number}/dry-run").get_json()
    assert (found["queue"], found["workers"], found["problem"]) == ("slow", ["w@alpha"], None)
    assert found["body"] == "[[1, 2], {}]"
    assert "1 worker would take it." in scheduler.post(f"/schedules/{number}/dry-run").text
    change(app, sa.update(Worker).values(queues="[]"))
    assert "It would wait" in scheduler.post(f"/schedules/{number}/dry-run").text
    wrong = scheduler.send(f"/schedules/{number}/dry-run", {"args": [1]}).get_json()
    assert "does not take these arguments" in wrong["problem"]
    with app.app_context():
        assert db.session.scalars(sa.select(Run)).all() == []
        db.session.remove()
