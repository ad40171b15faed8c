"""`/workers` shows the workers of other projects, and times of which events are missing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store import observed_workers
from webapp.run_store.worker_models import QueueConsumer

pytestmark = pytest.mark.each_database


def observe(node: str, *, silent_for: float = 0.0, stopped: bool = False) -> None:
    at = now() - timedelta(seconds=silent_for)
    row = (node, 4711, "py-celery 5.4.0", 2, at, at, at if stopped else None)
    observed_workers.keep_workers(db.session.connection(), [row], now())
    db.session.commit()


def consume(node: str, queue: str) -> None:
    at = now()
    values = {"queue": queue, "node": node, "claims": False, "first_seen_at": at, "seen_at": at}
    db.session.execute(sa.insert(QueueConsumer).values(**values))
    db.session.commit()


def test_each_is_shown_with_what_is_known_of_it(context: Flask) -> None:
    observe("celery@shop")
    consume("celery@shop", "orders")
    observe("celery@gone", silent_for=90)
    observe("celery@done", stopped=True)
    page = Visitor(context, "viewer").get("/workers").text
    assert "No workers yet" not in page
    rows = {name: page.index(name) for name in ("celery@shop", "celery@done", "celery@gone")}
    assert rows["celery@shop"] == min(rows.values())
    for words in ("orders", "py-celery 5.4.0", "process 4711", "no events", "stopped", "online"):
        assert words in page


def test_it_is_kept_up_to_date_and_forgotten_after_a_day(context: Flask) -> None:
    observe("celery@shop", silent_for=60)
    observe("celery@shop")
    observe("celery@old", silent_for=90_000)
    observe("celery@shop")
    with db.engine.connect() as connection:
        found = connection.execute(sa.select(observed_workers.ObservedWorker.__table__)).all()
    assert [row.node for row in found] == ["celery@shop"]
    assert found[0].seen_at - found[0].first_seen_at >= timedelta(seconds=59)


def test_a_gap_says_whose_events_are_missing_and_how_many_runs(context: Flask) -> None:
    observe("celery@shop")
    gaps = [("celery@shop", now() - timedelta(minutes=5), now(), 3), (None, now() - timedelta(hours=2), now(), None)]
    gaps.append((None, now() - timedelta(days=9), now() - timedelta(days=8), None))
    observed_workers.keep_gaps(db.session.connection(), gaps, now())
    db.session.commit()
    page = Visitor(context, "viewer").get("/workers").text
    assert "Some task events were not received" in page
    assert ", 3 runs" in page
    assert "all workers between" in page
    with db.engine.connect() as connection:
        assert len(observed_workers.gaps(connection, 10)) == 2


def test_without_other_projects_nothing_is_said_of_them(context: Flask) -> None:
    assert "other projects" not in Visitor(context, "viewer").get("/workers").text
