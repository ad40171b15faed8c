"""A task that another project has announced is scheduled and launched by the same forms as our own."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery import Celery
from flask import Flask

from beatdesk.announcing import STREAM, announcement, packed
from tests.support import fresh
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.task_catalogue import announced, mailbox
from webapp.task_catalogue.registry import find_task, forget_announced, route, rule_for

TASK = "shop.ship"


def announce_shop(redis: redis_client.Redis) -> None:
    """Have the app of another project announce its task, and the announcement kept in the table."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_routes = {TASK: {"queue": "ships"}}

    @app.task(name=TASK, shared=False, secrets=("iban",), time_limit=300, rate_limit="10/m", acks_late=True)
    def ship(order: int, iban: str, when: datetime | None = None, *, copies: int = 1) -> None:
        """Ship an order.

        Args:
            order: Its number.
        """

    redis.xadd(STREAM, {"source": "celery@a", "body": packed(announcement(app))})
    with db.engine.begin() as connection:
        for one in mailbox.read(redis).announcements:
            announced.keep_announcement(connection, one, datetime.now(UTC))
    forget_announced()


@pytest.fixture
def shop(context: Flask, redis: redis_client.Redis) -> None:
    """The app is announced."""
    announce_shop(redis)


@pytest.mark.usefixtures("shop")
def test_the_launch_form_has_its_parameters(context: Flask) -> None:
    page = Visitor(context, "operator").get(f"/runs/new?task={TASK}").text
    assert "Ship an order." in page
    assert "Its number." in page
    assert "Queue ships · Time limit 5m · Rate limit 10/m on each worker · Acknowledged when it has ended" in page
    assert 'name="arg.order"' in page
    assert 'type="password"' in page
    assert "Default: 1." in page
    assert "Edit arguments as JSON" in page
    assert "not checked" not in page


def test_text_that_no_page_can_show_is_escaped(context: Flask) -> None:
    odd = {"doc": "Read \udcff.", "parameters": [{"name": "path", "kind": "keyword_only", "default": "\udcff"}]}
    with db.engine.begin() as connection:
        given = announced.Announcement("celery@a", "shop", {TASK: json.dumps(odd)})
        announced.keep_announcement(connection, given, datetime.now(UTC))
    forget_announced()
    page = Visitor(context, "operator").get(f"/runs/new?task={TASK}").text
    assert r"Read \udcff." in page
    assert r"Default: &#34;\\udcff&#34;." in page


@pytest.mark.usefixtures("shop")
def test_arguments_are_checked_and_secrets_sealed(context: Flask) -> None:
    operator = Visitor(context, "operator")
    wrong = operator.post("/runs/new", {"task": TASK, "mode": "fields", "arg.order": "five", "arg.iban": ""})
    assert wrong.status_code == 422
    assert "Enter a value." in wrong.text
    assert "field-error" in wrong.text
    as_json = {"task": TASK, "mode": "json", "args": "[1]", "kwargs": '{"colour": "red"}'}
    assert "does not take these arguments" in operator.post("/runs/new", as_json).text
    given = {"task": TASK, "mode": "fields", "arg.order": "5", "arg.iban": "DE89370400440532013000"}
    answer = operator.post("/runs/new", given)
    assert answer.status_code == 303
    run = fresh(Run, answer.location.rpartition("/")[2])
    assert "DE89" not in f"{run.args}{run.kwargs}"
    assert run.sealed
    assert (run.state, run.origin) == (RunState.QUEUED, Origin.LAUNCH)
    assert route(TASK) == {"queue": "ships"}


@pytest.mark.usefixtures("shop")
def test_a_schedule_of_it_is_checked_and_masked(context: Flask) -> None:
    admin = Visitor(context, "admin")
    form = {"name": "theirs", "task": TASK, "kind": "interval", "every": "5", "period": "minutes", "enabled": "1"}
    assert admin.post("/schedules", {**form, "mode": "fields", "arg.order": "x", "arg.iban": "DE00"}).status_code == 422
    answer = admin.post(
        "/schedules", {**form, "mode": "fields", "arg.order": "7", "arg.iban": "DE89370400440532013000"}
    )
    assert answer.status_code == 303
    page = admin.get(answer.location).text
    assert "DE8937" not in page
    assert "Queue ships" in page
    stored = db.session.execute(sa.text("SELECT args, kwargs FROM celery_periodictask WHERE name = 'theirs'")).one()
    assert "DE8937" not in json.dumps(list(stored))
    assert "iban" in rule_for(TASK).names
    assert find_task(TASK) is not None


def test_an_imported_schedule_waits_disabled_for_its_task(context: Flask, redis: redis_client.Redis) -> None:
    admin = Visitor(context, "admin")
    source = f"beat_schedule = {{'nightly': {{'task': '{TASK}', 'schedule': 60.0, 'args': (7, 'DE00')}}}}"
    admin.post_json("/schedules/import", {"file": source, "format": "beat_schedule", "apply": True})
    (row,) = admin.read("/schedules")["schedules"]
    assert (row["enabled"], row["task_unknown"]) == (False, True)
    path = f"/schedules/{row['id']}"
    assert "task unknown" in admin.get(path).text
    announce_shop(redis)
    assert "task unknown" not in admin.get(path).text
    assert admin.post_json(f"{path}/enable").status_code == 200
    (row,) = admin.read("/schedules")["schedules"]
    assert (row["enabled"], row["task_unknown"]) == (True, False)
    # It was imported before its project said what of it is secret.
    assert "DE00" not in admin.get(path).text
