"""`/workers` and `/queues`."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.outages import away
from tests.runs.making import make_run
from tests.support import reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import Worker
from webapp.runs import control as runs
from webapp.workers import service


def make_worker(name: str, *, silent_for: float = 0.0, **values: Any) -> str:
    row = {
        "id": name.ljust(32, "x"),
        "name": name,
        "host": "host-a",
        "pid": 4711,
        "pool": "prefork",
        "concurrency": 4,
        "queues": json.dumps(["beatdesk"]),
        "versions": json.dumps({"celery": "5.7.0"}),
        "seen_at": now() - timedelta(seconds=silent_for),
    }
    db.session.execute(sa.insert(Worker).values(**row | values))
    db.session.commit()
    return str(row["id"])


@pytest.fixture
def viewer(context: Flask) -> Visitor:
    return Visitor(context, "viewer")


def test_page_without_workers_explains_how_to_start_one(viewer: Visitor) -> None:
    assert "No workers yet" in viewer.get("/workers").text


def test_it_shows_who_is_alive_and_how_busy(viewer: Visitor) -> None:
    worker = make_worker("w1@host-a", queues=json.dumps(["beatdesk", "mail"]))
    make_run(RunState.STARTED, claimed_by=worker)
    make_run(RunState.SUCCEEDED, claimed_by=worker)
    text = viewer.get("/workers").text
    for part in (
        "w1@host-a",
        "host-a, process 4711",
        "online",
        "1 of 4 busy",
        "Concurrency 4",
        "beatdesk, mail",
        "celery 5.7.0",
    ):
        assert part in text, part


def test_gone_workers_come_last_and_are_forgotten_after_a_day(context: Flask) -> None:
    make_worker("a-silent", silent_for=60)
    make_worker("b-stopped", silent_for=60, stopped_at=now())
    make_worker("c-alive")
    make_worker("d-long-gone", silent_for=90_000)
    with reading():
        rows = [(row.worker.name, row.alive) for row in service.workers(now())]
    assert rows == [
        ("c-alive", True),
        ("a-silent", False),
        ("b-stopped", False),
    ]
    text = Visitor(context, "viewer").get("/workers").text.partition('id="workers"')[2]
    assert text.index("c-alive") < text.index("a-silent")
    assert text.count('class="gone"') == 2


def test_idle_page_costs_nothing(viewer: Visitor) -> None:
    make_worker("w1")
    for path in ("/workers", "/queues"):
        first = viewer.get(path, htmx=True)
        assert first.status_code == 200
        assert viewer.get(path, htmx=True, headers={"HX-PTag": first.headers["HX-PTag"]}).status_code == 304


def test_queues_show_depth_consumers_and_the_oldest(context: Flask, redis: object) -> None:
    make_worker("w1", queues=json.dumps(["beatdesk", "mail"]))
    for _ in range(3):
        runs.launch("add", [1, 2])
    old = now() - timedelta(minutes=5)
    make_run(RunState.QUEUED, created_at=old, queue="lonely")
    with reading():
        found = {row.name: row for row in service.queues(now()).rows}
    assert {name: line.depth for name, line in found.items()} == {"beatdesk": 3, "mail": 0, "lonely": 0}
    assert (found["beatdesk"].workers, found["lonely"].workers) == (["w1"], [])
    assert (found["lonely"].oldest, found["mail"].oldest) == (old, None)
    text = Visitor(context, "viewer").get("/queues").text
    assert "no consumers" in text
    assert "none waiting" in text


def test_queues_page_stands_while_the_broker_is_away(settings: Settings) -> None:
    with away(settings) as app:
        make_run(RunState.QUEUED)
        visitor = Visitor(app, "viewer")
        began = time.monotonic()
        answer = visitor.get("/queues")
        assert answer.status_code == 200
        assert "The broker does not answer" in answer.text
        assert "unknown" in answer.text
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["/workers", "/queues"])
def test_members_do_not_see_it(context: Flask, path: str) -> None:
    assert Visitor(context, "member").get(path).status_code == 403
