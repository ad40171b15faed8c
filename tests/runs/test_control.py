"""Cancel, retry and launch: what becomes of the rows, and what the audit says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.execution.host import Delivery
from tests.outages import away
from tests.runs.making import make_run
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.messaging.beat_wakeup import CHANNEL
from webapp.run_store import claims, sending
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control


def audited(action: str) -> list[tuple[str, str]]:
    with reading():
        rows = db.session.execute(sa.select(AuditEntry).where(AuditEntry.action == action)).scalars()
        return [(row.object_id, row.actor) for row in rows]


def newest() -> Run:
    with reading():
        run_id = db.session.scalars(sa.select(Run.id).order_by(Run.created_at.desc())).first()
    return fresh(Run, run_id)


@pytest.mark.parametrize("state", [RunState.HELD, RunState.QUEUED, RunState.RETRYING])
def test_waiting_run_is_cancelled_at_once(operator: Visitor, state: RunState) -> None:
    run_id = make_run(state)
    answer = operator.post(f"/runs/{run_id}/cancel")
    assert (answer.status_code, answer.location) == (303, f"/runs/{run_id}")
    run = fresh(Run, run_id)
    assert (run.state, run.reason) == (RunState.REVOKED, "Cancelled before it started")
    assert run.ended_at is not None
    assert [entry[0] for entry in audited("run.cancel")] == [run_id]
    assert "will not start" in operator.get(f"/runs/{run_id}").text


def test_running_run_is_asked_to_end_and_stays_running_until_it_did(operator: Visitor) -> None:
    run_id = make_run(RunState.STARTED, started_at=now())
    operator.post(f"/runs/{run_id}/cancel")
    run = fresh(Run, run_id)
    assert (run.state, run.ended_at) == (RunState.STARTED, None)
    text = operator.get(f"/runs/{run_id}").text
    assert "Celery does not guarantee it" in text
    assert "Cancellation requested" in text
    assert len(audited("run.cancel")) == 1


def test_ended_run_cannot_be_cancelled(operator: Visitor) -> None:
    run_id = make_run(RunState.SUCCEEDED)
    assert operator.post(f"/runs/{run_id}/cancel").status_code == 409
    assert fresh(Run, run_id).state == RunState.SUCCEEDED
    assert audited("run.cancel") == []


def test_a_run_that_began_before_its_page_noted_the_sending_was_sent_once(
    context: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = sending.publish

    def published_and_claimed(runs: Sequence[Run]) -> list[str]:
        sent = publish(runs)
        for run_id in sent:
            claims.claim_by_itself(db.engine, Delivery(run_id, "add", "[2, 3]", "{}", 0, "w", "w@h"), now())
        return sent

    monkeypatch.setattr(sending, "publish", published_and_claimed)
    run = fresh(Run, control.launch("add", [2, 3]).id)
    assert (run.state, run.sends) == (RunState.STARTED, 1)
    assert run.sent_at == run.started_at


def test_retry_is_a_new_run_that_knows_its_origin(operator: Visitor) -> None:
    first = make_run(RunState.FAILED, args="[2]", kwargs='{"num2": 3}', queue="beatdesk", priority=3)
    answer = operator.post(f"/runs/{first}/retry")
    run = newest()
    assert (answer.status_code, answer.location) == (303, f"/runs/{run.id}")
    assert (run.retry_of, run.origin, run.args, run.kwargs) == (first, "retry", "[2]", '{"num2": 3}')
    assert (run.queue, run.priority, run.state) == ("beatdesk", 3, RunState.QUEUED)
    assert fresh(Run, first).state == RunState.FAILED
    assert audited("run.retry") == [(run.id, "Sita Gurung <operator@example.org>")]


def test_run_that_goes_on_is_not_retried(operator: Visitor) -> None:
    run_id = make_run(RunState.STARTED)
    assert operator.post(f"/runs/{run_id}/retry").status_code == 409


def test_task_that_is_gone_is_not_retried(operator: Visitor) -> None:
    run_id = make_run(RunState.FAILED, task="gone")
    assert operator.post(f"/runs/{run_id}/retry").status_code == 422
    assert len(audited("run.refuse")) == 1


def test_launch_form_is_made_from_the_signature(operator: Visitor) -> None:
    assert "Choose a task" in operator.get("/runs/new").text
    text = operator.get("/runs/new?task=add").text
    assert 'name="arg.num1"' in text
    assert "The first number." in text
    assert "Add two numbers." in text
    assert 'name="kwargs"' in operator.get("/runs/new?task=add&mode=json").text


def test_it_launches_the_run_of_the_form(operator: Visitor) -> None:
    sent = {"task": "add", "arg.num1": "2", "arg.num2": "3.5", "priority": "4", "queue": "beatdesk", "expires": "1h"}
    answer = operator.post("/runs/new", sent)
    run = newest()
    assert (answer.status_code, answer.location) == (303, f"/runs/{run.id}")
    assert (json.loads(run.kwargs), run.args, run.priority, run.queue) == (
        {"num1": 2, "num2": 3.5},
        "[]",
        4,
        "beatdesk",
    )
    assert run.expires_at is not None
    assert timedelta(minutes=59) < run.expires_at - run.created_at < timedelta(minutes=61)
    assert [entry[0] for entry in audited("run.launch")] == [run.id]


@pytest.mark.parametrize("when", [{"countdown": "90s"}, {"eta": ""}])
def test_it_holds_what_is_to_begin_later(operator: Visitor, when: dict[str, str]) -> None:
    if "eta" in when:
        # A form's moment has no zone: it is the reader's, which is Asia/Kathmandu here.
        when = {"eta": (now() + timedelta(hours=5, minutes=45, seconds=90)).strftime("%Y-%m-%dT%H:%M:%S")}
    operator.post("/runs/new", {"task": "add", "arg.num1": "2", "arg.num2": "3", **when})
    run = newest()
    assert run.state == RunState.HELD
    assert run.eta is not None
    assert abs((run.eta - now()).total_seconds() - 90) < 5


@pytest.mark.parametrize(("when", "woken"), [({"countdown": "90s"}, True), ({}, False)])
def test_beat_is_woken_for_what_is_held_and_for_nothing_else(
    operator: Visitor, redis: redis_client.Redis, when: dict[str, str], woken: bool
) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as listening:
        listening.subscribe(CHANNEL)
        listening.get_message(timeout=5)
        operator.post("/runs/new", {"task": "add", "arg.num1": "2", "arg.num2": "3", **when})
        # Messages of one server arrive in order: what was announced comes before this one.
        redis.publish(CHANNEL, "the last")
        heard = [listening.get_message(timeout=5) for _ in range(1 + woken)]
    assert [message and message["data"] for message in heard] == ["held"] * woken + ["the last"]


def test_it_launches_from_json(operator: Visitor) -> None:
    operator.post("/runs/new", {"task": "add", "mode": "json", "args": "[2]", "kwargs": '{"num2": 3}'})
    assert (newest().args, newest().kwargs) == ("[2]", '{"num2": 3}')


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"arg.num1": "two", "arg.num2": "3"}, "arg.num1"),
        ({"arg.num1": "2", "arg.num2": ""}, "arg.num2"),
        ({"arg.num1": "2", "arg.num2": "3", "countdown": "soon"}, "countdown"),
        ({"arg.num1": "2", "arg.num2": "3", "eta": "2001-01-01T00:00"}, "eta"),
        ({"arg.num1": "2", "arg.num2": "3", "eta": "2999-01-01T00:00"}, "eta"),
        ({"arg.num1": "2", "arg.num2": "3", "priority": "10"}, "priority"),
        ({"arg.num1": "2", "arg.num2": "3", "queue": "elsewhere"}, "queue"),
        ({"arg.num1": "2", "arg.num2": "3", "expires": "0s"}, "expires"),
        ({"mode": "json", "args": "[2", "kwargs": "{}"}, "args"),
        ({"mode": "json", "args": "{}", "kwargs": "{}"}, "args"),
        ({"mode": "json", "args": "[]", "kwargs": '{"num1": NaN}'}, "kwargs"),
        ({"mode": "json", "args": "[1, 2, 3]", "kwargs": "{}"}, "args"),
    ],
)
def test_it_refuses_at_the_field_and_keeps_what_was_typed(operator: Visitor, sent: dict[str, str], field: str) -> None:
    answer = operator.post("/runs/new", {"task": "add", **sent})
    assert answer.status_code == 422
    assert f'id="{field}-error"' in answer.text
    if "arg.num1" in sent:
        assert f'value="{sent["arg.num1"]}"' in answer.text
    with reading():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Run)) == 0


@pytest.mark.parametrize("task", ["celery.map", "os.system", ""])
def test_only_registered_tasks_can_be_launched(operator: Visitor, task: str) -> None:
    assert operator.post("/runs/new", {"task": task, "mode": "json"}).status_code == 422


def test_retry_with_other_arguments_begins_with_the_first_ones(operator: Visitor) -> None:
    first = make_run(RunState.FAILED, args="[2]", kwargs='{"num2": 30}')
    text = operator.get(f"/runs/new?from={first}").text
    assert 'value="2"' in text
    assert 'value="30"' in text
    operator.post("/runs/new", {"task": "add", "from": first, "arg.num1": "7", "arg.num2": "8"})
    assert (newest().retry_of, newest().origin, json.loads(newest().kwargs)) == (first, "retry", {"num1": 7, "num2": 8})


def test_viewer_may_do_none_of_it(context: Flask) -> None:
    viewer = Visitor(context, "viewer")
    run_id = make_run(RunState.QUEUED)
    for path in (f"/runs/{run_id}/cancel", f"/runs/{run_id}/retry", "/runs/new"):
        assert viewer.post(path).status_code == 403
    assert viewer.get("/runs/new").status_code == 403
    assert fresh(Run, run_id).state == RunState.QUEUED


def test_cancelling_works_while_the_broker_is_away(settings: Settings) -> None:
    with away(settings) as app:
        waiting, running = make_run(RunState.QUEUED), make_run(RunState.STARTED)
        visitor = Visitor(app, "operator")
        assert visitor.post(f"/runs/{waiting}/cancel").status_code == 303
        assert visitor.post(f"/runs/{running}/cancel").status_code == 303
        assert "The broker does not answer" in visitor.get(f"/runs/{running}").text
        assert fresh(Run, waiting).state == RunState.REVOKED
        assert fresh(Run, running).state == RunState.STARTED


def test_a_launch_by_the_command_line_is_audited_as_the_pages_is(operator: Visitor, runner: FlaskCliRunner) -> None:
    operator.post("/runs/new", {"task": "add", "arg.num1": "2", "arg.num2": "3"})
    by_page = newest()
    answer = runner.invoke(args=["runs", "launch", "add", "--kwargs", '{"num1": 2, "num2": 3}'])
    run = fresh(Run, answer.stdout.strip())
    assert (run.origin, run.created_by) == ("command", None)
    assert [entry[0] for entry in audited("run.launch")] == [by_page.id, run.id]
    with reading():
        first, second = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "run.launch")).all()
        assert (second.actor, second.object_name) == ("system", "add")
        assert json.loads(second.after or "") == json.loads(first.after or "")
