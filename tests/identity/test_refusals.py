"""Refusals are audited with person and count, and cannot fill the audit."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.runs.making import make_run
from tests.support import reading
from tests.visitors import Visitor, add_user
from webapp.extensions import db
from webapp.identity import refusals
from webapp.identity.models import AuditEntry
from webapp.run_store.states import RunState
from webapp.schedules import service

WHEN = {"kind": "crontab", "crontab": "0 8 * * *"}


def noted(action: str) -> list[dict[str, Any]]:
    with reading():
        rows = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id))
        return [
            {"who": row.actor, "what": row.object_name, "id": row.object_id, "from": row.address}
            | json.loads(row.after or "{}")
            for row in rows
        ]


def test_each_kind_leaves_its_trace(context: Flask, runner: FlaskCliRunner) -> None:
    roles = ("operator", "scheduler", "viewer", None)
    operator, scheduler, viewer, visitor = (Visitor(context, role) for role in roles)
    schedule = service.create({"name": "Sums", "task": "add", "args": [1, 2], **WHEN})
    gone = make_run(RunState.FAILED, task="gone")
    for task in ("os.system", "celery.map"):
        assert operator.post("/runs/new", {"task": task}).status_code == 422
        assert operator.post_json("/runs/new", {"task": task, "args": ["rm"]}).status_code == 422
    assert operator.post("/runs/new", {"task": "add", "mode": "json", "args": '["a", 1]'}).status_code == 422
    assert operator.post("/runs/new", {"task": "add", "arg.num1": "x", "arg.num2": "1"}).status_code == 422
    assert operator.post(f"/runs/{gone}/retry").status_code == 422
    found = noted("run.refuse")
    assert {row["what"] for row in found} == {"os.system", "celery.map", "add", "gone"}
    assert all(row["who"].endswith("<operator@example.org>") and row["from"] == "127.0.0.1" for row in found)
    assert any("num1" in row["reason"] for row in found)
    assert scheduler.post_json("/schedules", {"name": "Bad", "task": "os.system", **WHEN}).status_code == 422
    assert scheduler.post_json(f"/schedules/{schedule.id}", {"args": ["a", "b"]}).status_code == 422
    assert operator.post_json(f"/schedules/{schedule.id}/run", {"args": [1]}).status_code == 422
    file = json.dumps({"schedules": [{"name": "Imported", "task": "os.system", **WHEN}]})
    assert scheduler.post_json("/schedules/import", {"file": file, "apply": True}).status_code == 422
    assert runner.invoke(args=["runs", "launch", "os.system"]).exit_code == 1
    found = noted("schedule.refuse")
    assert [row["what"] for row in found] == ["Bad", "Sums", "Sums", "Imported"]
    assert viewer.post(f"/schedules/{schedule.id}/pause").status_code == 403
    assert noted("access.refuse") == [
        {
            "who": "Sita Gurung <viewer@example.org>",
            "what": f"POST /schedules/{schedule.id}/pause",
            "id": "schedules.pause",
            "from": "127.0.0.1",
            "times": 1,
        }
    ]
    add_user(context, "known@example.org", "viewer", name="Known")
    assert visitor.post("/login", {"email": "known@example.org", "password": "wrong"}).status_code == 401
    assert visitor.post("/login", {"email": "my secret password", "password": "wrong"}).status_code == 401
    assert [(row["who"], row["what"]) for row in noted("account.sign_in_failed")] == [
        ("unknown", "Known"),
        ("unknown", ""),
    ]
    for email in ("known@example.org", "stranger@example.org"):
        visitor.post("/reset", {"email": email})
    assert [row["what"] for row in noted("account.request_password_reset")] == ["Known", "stranger@example.org"]


def test_a_wrong_schedule_that_is_no_wrong_call_is_not_noted(context: Flask) -> None:
    scheduler = Visitor(context, "scheduler")
    assert scheduler.post_json("/schedules", {"name": "", "task": "add", "args": [1, 2], **WHEN}).status_code == 422
    assert noted("schedule.refuse") == []


@pytest.mark.parametrize("redis_is_away", [False, True])
def test_they_cannot_fill_the_table(context: Flask, monkeypatch: pytest.MonkeyPatch, redis_is_away: bool) -> None:
    if redis_is_away:
        monkeypatch.setattr("limits.storage.RedisStorage.incr", _refuse)
    operator = Visitor(context, "operator")
    for _ in range(12):
        operator.post("/runs/new", {"task": "os.system"})
    assert [row["times"] for row in noted("run.refuse")] == [1, 10]
    for number in range(120):
        operator.post("/runs/new", {"task": f"task{number}"})
    found = noted("run.refuse")
    assert [row["times"] for row in found[-2:]] == [1, 100]
    assert len(found) == refusals.MAX_OF_ONE + 2
    # Another user's first one is noted all the same.
    Visitor(context, "admin").post("/runs/new", {"task": "os.system"})
    assert len(noted("run.refuse")) == refusals.MAX_OF_ONE + 3


def _refuse(*_args: object, **_more: object) -> int:
    raise ConnectionError("Redis is away")


def test_it_is_refused_although_nothing_can_be_noted(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "write_apart", _away)
    assert Visitor(context, "operator").post("/runs/new", {"task": "os.system"}).status_code == 422


def _away(_write: object) -> None:
    raise sa.exc.OperationalError("insert", {}, Exception("gone"))
