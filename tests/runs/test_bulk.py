"""Retry and cancel all that match: counted first, each run audited once, nothing that came later."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.runs.making import make_run, make_runs
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.list import bulk

pytestmark = pytest.mark.each_database


def confirm(visitor: Visitor, path: str) -> dict[str, str]:
    """The hidden fields of the page that asks."""
    text = visitor.get(path).text
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text[text.index("<main") :])
    return {name: html.unescape(value) for name, value in found if name != "csrf_token"}


def column(query: Any) -> list[Any]:
    with reading():
        return list(db.session.scalars(query))


def test_retry_all_retries_what_was_counted_and_nothing_else(operator: Visitor) -> None:
    failed = make_runs(60, state=RunState.FAILED, args="[1, 2]")
    make_run(RunState.FAILED, task="other", args="[1, 2]")
    make_run(RunState.SUCCEEDED)
    path = "/runs/retry-all?task=add&state=failed&q=since:1h"
    assert "60 runs" in operator.get(path).text
    fields = confirm(operator, path)
    late = make_run(RunState.FAILED, created_at=now(), args="[1, 2]")
    assert operator.post("/runs/retry-all", fields).status_code == 303
    origins = column(sa.select(Run.retry_of).where(Run.retry_of.is_not(None)))
    assert sorted(origins) == sorted(failed)
    assert late not in origins
    assert len(column(sa.select(AuditEntry.id).where(AuditEntry.action == "run.retry"))) == 60
    assert set(column(sa.select(Run.state).where(Run.retry_of.is_not(None)))) == {RunState.QUEUED}


def test_retry_all_leaves_out_what_cannot_be_launched(operator: Visitor) -> None:
    make_run(RunState.FAILED, task="gone")
    make_run(RunState.FAILED, args="[1, 2, 3]")
    fields = confirm(operator, "/runs/retry-all?state=failed")
    page = operator.get(operator.post("/runs/retry-all", fields).location)
    assert "2 runs not retried" in page.text
    assert column(sa.select(Run.id).where(Run.retry_of.is_not(None))) == []


def test_cancel_all_ends_what_waits_and_asks_for_what_runs(operator: Visitor) -> None:
    held, queued, started = (make_run(state) for state in (RunState.HELD, RunState.QUEUED, RunState.STARTED))
    done = make_run(RunState.SUCCEEDED)
    assert "3 runs" in operator.get("/runs/cancel-all?task=add").text
    answer = operator.post("/runs/cancel-all", confirm(operator, "/runs/cancel-all?task=add"))
    text = operator.get(answer.location).text
    assert "2 runs cancelled" in text
    assert "The workers of 1 run were asked" in text
    states = [fresh(Run, run_id).state for run_id in (held, queued, started, done)]
    assert states == [RunState.REVOKED, RunState.REVOKED, RunState.STARTED, RunState.SUCCEEDED]
    assert len(column(sa.select(AuditEntry.id).where(AuditEntry.action == "run.cancel"))) == 3


def test_so_many_at_once(operator: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "MAX_BULK_RUNS", 5)
    make_runs(8, state=RunState.QUEUED)
    text = operator.get("/runs/cancel-all").text
    assert "Cancel 5 runs" in text
    assert "More runs match" in text


def test_bulk_action_without_matches_is_reported(operator: Visitor) -> None:
    make_run(RunState.SUCCEEDED)
    assert "Nothing to cancel" in operator.get("/runs/cancel-all?state=succeeded").text
    assert operator.post("/runs/cancel-all", {"state": "succeeded"}).status_code == 303


def test_viewer_may_not(context: Flask) -> None:
    viewer = Visitor(context, "viewer")
    assert viewer.get("/runs/retry-all").status_code == 403
    assert viewer.post("/runs/cancel-all").status_code == 403
