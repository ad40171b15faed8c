"""What apps announce is kept, replaced and forgotten in the table, and read as tasks with parameters."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery import Celery
from flask import Flask

from beatdesk.announcing import STREAM, announce, packed
from webapp.extensions import db
from webapp.runs.call.forms import fields_of
from webapp.task_catalogue import announced, mailbox
from webapp.task_catalogue.announced import AnnouncedTask, AnnouncedTasks, Announcement
from webapp.task_catalogue.known_task import from_description

pytestmark = [pytest.mark.each_database, pytest.mark.usefixtures("context")]
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SHIP = json.dumps({
    "doc": "Ship.",
    "parameters": [{"name": "order", "kind": "positional_or_keyword", "type": "int"}],
    "queue": "ships",
})  # fmt: skip


def keep(source: str, tasks: dict[str, str], now: datetime = NOW, app: str = "shop") -> set[str]:
    with db.engine.begin() as connection:
        return announced.keep_announcement(connection, Announcement(source, app, tasks), now)


def keep_names(node: str, *names: str, now: datetime = NOW, queue: str | None = "celery") -> set[str]:
    with db.engine.begin() as connection:
        return announced.keep(connection, {node: names}, {node: queue}, now)


def catalogue() -> AnnouncedTasks:
    @contextmanager
    def connect() -> Any:
        with db.engine.connect() as connection:
            yield connection

    return AnnouncedTasks(connect)


def test_a_later_announcement_replaces_that_of_its_source() -> None:
    assert keep("celery@a", {"shop.ship": SHIP, "shop.old": "{}"}) == {"shop.ship", "shop.old"}
    assert keep("celery@b", {"shop.ship": SHIP}) == {"shop.ship"}
    assert keep("celery@a", {"shop.ship": SHIP}) == {"shop.old"}
    assert keep("celery@a", {"shop.ship": SHIP}) == set()
    known = catalogue().current()
    assert known.keys() == {"shop.ship"}
    assert (known["shop.ship"].nodes, known["shop.ship"].queue) == (("celery@a", "celery@b"), "ships")


def test_a_description_counts_more_than_a_name() -> None:
    keep_names("celery@old", "shop.ship", "shop.bare")
    keep("celery@new", {"shop.ship": SHIP})
    keep_names("celery@new", "shop.ship", now=NOW + timedelta(minutes=1))
    known = catalogue().current()
    assert (known["shop.ship"].is_checked, known["shop.ship"].queue) == (True, "ships")
    assert known["shop.ship"].refuse([], {}) == (
        "shop.ship does not take these arguments: missing a required argument: 'order'."
    )
    assert (known["shop.bare"].is_checked, known["shop.bare"].queue) == (False, "celery")
    assert known["shop.bare"].refuse([], {"anything": 1}) is None


def test_a_process_reads_again_what_has_changed() -> None:
    tasks = catalogue()
    keep("celery@a", {"shop.ship": SHIP, "shop.same": SHIP})
    before = tasks.current()
    keep("celery@a", {"shop.ship": json.dumps({**json.loads(SHIP), "doc": "Ship it."}), "shop.same": SHIP},
         NOW + timedelta(minutes=1))  # fmt: skip
    assert tasks.current() is before
    tasks.forget()
    assert tasks.current()["shop.ship"].summary == "Ship it."
    assert tasks.current()["shop.same"] is before["shop.same"]


def test_tasks_of_workers_that_are_gone_are_forgotten_in_time() -> None:
    keep("celery@gone", {"shop.ship": SHIP, "shop.removed": "{}"}, NOW - timedelta(days=2))
    keep("celery@other", {"other.task": "{}"}, NOW - timedelta(days=2), app="other")
    keep_names("celery@foreign", "foreign.task", now=NOW - timedelta(days=31))
    keep_names("celery@living", "living.task", now=NOW - timedelta(days=31))
    assert keep("celery@new", {"shop.ship": SHIP}) == {"shop.ship", "shop.removed"}
    with db.engine.begin() as connection:
        announced.renew(connection, {"celery@living"}, NOW)
        rows = connection.execute(sa.select(AnnouncedTask.name, AnnouncedTask.node, AnnouncedTask.seen_at)).all()
    assert {(row.name, row.node) for row in rows} == {
        ("shop.ship", "celery@new"),
        ("other.task", "celery@other"),
        ("living.task", "celery@living"),
    }
    assert {row.seen_at for row in rows if row.name == "living.task"} == {NOW}


def test_a_name_is_kept_for_one_worker_where_their_names_change() -> None:
    for age in range(1, 6):
        keep_names(f"celery@pod-{age}", "shop.ship", now=NOW - timedelta(days=age))
    keep_names("celery@pod-0", "shop.ship", now=NOW)
    keep("shop", {"shop.ship": SHIP}, NOW - timedelta(days=5))
    with db.engine.begin() as connection:
        announced.renew(connection, set(), NOW)
    known = catalogue().current()
    assert known["shop.ship"].nodes == ("celery@pod-0", "celery@pod-1", "shop")
    assert known["shop.ship"].is_checked


def test_of_too_many_rows_the_latest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announced, "MAX_ROWS", 2)
    keep_names("celery@old", "shop.old", now=NOW - timedelta(days=2))
    keep_names("celery@a", "shop.ship", now=NOW - timedelta(days=1), queue="first")
    keep_names("celery@b", "shop.ship", now=NOW, queue="second")
    known = catalogue().current()
    assert known.keys() == {"shop.ship"}
    assert known["shop.ship"].queue == "second"


def test_announcements_are_taken_from_redis_as_they_were_made(redis: redis_client.Redis) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.accept_content = ["pickle"]

    @app.task(name="shop.ship", shared=False, secrets=("iban",), serializer="pickle")
    def ship(order: int, iban: str = "", when: datetime | None = None) -> None:
        r"""Ship “it” \0."""

    announce(app, redis, "celery@a")
    redis.xadd(STREAM, {"source": "celery@b", "body": "no announcement"})
    redis.xadd(STREAM, {"source": "celery@b", "body": packed({"app": {}, "tasks": {"": {}, "odd.task": {"doc": "x"}}})})
    waiting = mailbox.read(redis)
    assert [one.source for one in waiting.announcements] == ["celery@a", "celery@b"]
    # Other tests in this process may have shared tasks.
    assert waiting.announcements[0].tasks.keys() >= {"celery.backend_cleanup", "shop.ship"}
    assert "celery.map" not in waiting.announcements[0].tasks
    for one in waiting.announcements:
        keep(one.source, dict(one.tasks), app=one.app)
    mailbox.remove(redis, waiting.ids)
    assert redis.xlen(STREAM) == 0
    known = catalogue().current()
    assert [(one.name, one.kind, one.secret, one.default) for one in fields_of(known["shop.ship"])] == [
        ("order", "int", False, ""),
        ("iban", "text", True, "•••"),
        ("when", "datetime", False, "nothing"),
    ]
    assert known["shop.ship"].summary == r"Ship “it” \0."
    assert "accept pickle only" in str(known["shop.ship"].note)
    assert not known["odd.task"].is_checked


OTHER_FORMS = (
    "[]",
    "no JSON",
    '{"parameters": 5}',
    '{"parameters": [{"name": "a b", "kind": "positional_only"}]}',
    '{"parameters": [{"name": "a", "kind": "unknown"}]}',
    '{"parameters": [{"name": "a", "kind": "keyword_only", "type": "unknown"}]}',
    '{"parameters": [{"name": "a", "kind": "keyword_only", "type": ["enum", "E", ["mro", 1]]}]}',
    '{"parameters": [{"name": "a", "kind": "keyword_only"}, {"name": "a", "kind": "keyword_only"}]}',
    '{"secrets": [1]}',
    '{"doc": 5}',
)


def test_of_a_description_in_another_form_only_the_name_counts() -> None:
    keep("celery@a", {f"odd.task{place}": text for place, text in enumerate(OTHER_FORMS)} | {"shop.ship": SHIP})
    known = catalogue().current()
    assert [name for name, task in known.items() if task.is_checked] == ["shop.ship"]
    assert len(known) == len(OTHER_FORMS) + 1


def test_what_an_app_says_and_what_is_imported_here_become_the_same(context: Flask) -> None:
    from webapp.task_catalogue.registry import find_task

    here = find_task("add")
    assert here is not None
    assert [one.name for one in fields_of(here)] == ["num1", "num2"]
    again = from_description("add", json.loads(json.dumps({
        "doc": here.summary,
        "parameters": [
            {"name": "num1", "kind": "positional_or_keyword", "type": "float", "hint": here.hints["num1"]},
            {"name": "num2", "kind": "positional_or_keyword", "type": "float", "hint": here.hints["num2"]},
        ],
    })))  # fmt: skip
    assert fields_of(again) == fields_of(here)
