"""An exchange and a routing key set by another program: shown, kept, removed, and never typed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedule_store.models import ScheduleVersion
from webapp.schedule_store.rows import TASKS
from webapp.schedules import history, service
from webapp.schedules.sources.given import Given
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer

BOTH = {"exchange": "events", "routing_key": "sums"}


def schedule(app: Flask, **row: Any) -> int:
    with app.app_context():
        fields = {"name": "Sums", "task": "add", "args": [1, 2], "kind": "interval", "every": 5, "period": "minutes"}
        number = service.create({**fields, "queue": "slow"}).id
        db.session.execute(sa.update(TASKS).values(row))
        db.session.commit()
        db.session.remove()
    return number


def read(scheduler: Visitor, number: int) -> tuple[Any, Any]:
    found = scheduler.get(f"/schedules/{number}", accept="application/json").get_json()
    return found["exchange"], found["routing_key"]


def options(page: str, name: str) -> list[str]:
    """The options of a menu in the editor."""
    found = re.search(rf'<select[^>]*name="{name}".*?</select>', page, re.DOTALL)
    return re.findall(r'<option value="(.*?)"', found[0]) if found else []


def test_it_is_shown_and_offered_to_be_kept_or_removed(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, **BOTH)
    assert read(scheduler, number) == ("events", "sums")
    assert "Exchange events, routing key sums" in scheduler.get("/schedules").text
    page = scheduler.get(f"/schedules/{number}").text
    assert "They select the queue, not “slow”." in page
    assert (options(page, "exchange"), options(page, "routing_key")) == (["", "events"], ["", "sums"])
    clone = scheduler.get(f"/schedules/new?clone={number}").text
    assert options(clone, "exchange") == ["", "events"]


def test_exchange_or_routing_key_alone_is_reported_as_without_effect(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, exchange="", routing_key="sums")
    assert read(scheduler, number) == (None, "sums")
    page = scheduler.get(f"/schedules/{number}").text
    assert "Routing key <code>sums</code> has no effect without an exchange." in page
    assert options(page, "exchange") == []


def test_it_stays_until_it_is_removed_and_comes_back_with_its_version(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, **BOTH)
    path = f"/schedules/{number}"
    assert scheduler.post_json(path, {"description": "a sum"}).status_code == 200
    assert scheduler.post_json(path, {**BOTH, "priority": 3}).status_code == 200
    assert read(scheduler, number) == ("events", "sums")
    assert scheduler.post_json(path, {"exchange": "", "routing_key": None}).status_code == 200
    assert read(scheduler, number) == (None, None)
    assert scheduler.post(f"{path}/versions/2/restore", {}).status_code == 303
    assert read(scheduler, number) == ("events", "sums")


@pytest.mark.parametrize("name", BOTH)
def test_it_cannot_be_typed(app: Flask, scheduler: Visitor, name: str) -> None:
    number = schedule(app, **BOTH)
    for path in ("/schedules", f"/schedules/{number}"):
        fields = {"name": "Other", "task": "add", "args": [1, 2], "kind": "interval", "every": 5, "period": "minutes"}
        answer = scheduler.post_json(path, {**fields, name: "mine"})
        assert answer.status_code == 422
        assert answer.get_json()["fields"].keys() == {name}
    clone = scheduler.post_json("/schedules", {**fields, **BOTH, "clone": number})
    assert read(scheduler, clone.get_json()["id"]) == ("events", "sums")


def test_it_is_in_exports_and_comes_in_with_imports(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, **BOTH)
    with app.app_context():
        (entry,) = export.entries()
        assert {name: entry[name] for name in BOTH} == BOTH
        assert "'exchange': 'events', 'routing_key': 'sums'" in export.export("python", with_seals=False).text
        transfer.apply([Given("Copy", {**entry, "name": "Copy"})])
        steps = transfer.difference([Given("Bad", {**entry, "name": "Bad", "exchange": "unacked"})])
        assert steps[0].errors.keys() == {"exchange"}
        copy = db.session.scalar(sa.select(TASKS.c.id).where(TASKS.c.id != number))
        db.session.remove()
    assert copy is not None
    assert read(scheduler, copy) == ("events", "sums")


def test_preview_shows_what_decides_the_queue(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, **BOTH)
    sent = {"schedule_id": str(number), "every": "6", "name": "Sums"}
    said = "Exchange “events” and routing key “sums” select the queue."
    assert said in scheduler.post("/schedules/preview", sent).text
    assert said not in scheduler.post("/schedules/preview", {**sent, "exchange": ""}).text


def test_version_of_earlier_release_does_not_show_it_as_added(app: Flask, scheduler: Visitor) -> None:
    number = schedule(app, **BOTH)
    with app.app_context():
        (text,) = db.session.scalars(sa.select(ScheduleVersion.snapshot))
        former = {name: value for name, value in json.loads(text).items() if name not in BOTH}
        db.session.execute(sa.update(ScheduleVersion).values(snapshot=json.dumps(former)))
        db.session.commit()
        service.save(number, {"queue": "fast"})
        (change,) = history.versions(number)[0].changes
        assert change.field == "queue"
        db.session.remove()
    page = scheduler.post(f"/schedules/{number}", {"version": "1", "every": "7"}).text
    assert "routing key" not in page.partition("Merged")[0]
