"""The status of a kind of failure, the page, and what is decided there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.failures.test_groups import TRACE
from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.failure_models import FailureDecision
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database

KIND = {"task": "add", "exception": "ValueError", "place": ""}


def fail(age: float, **values: Any) -> str:
    return make_run(RunState.FAILED, age=age, error="ValueError: no", **values)


def status(visitor: Visitor) -> str:
    (found,) = visitor.read("/failures")["failures"]
    return str(found["status"])


def decide(visitor: Visitor, decision: str | None, *, ago: float = 0.0, **more: Any) -> None:
    answer = visitor.post_json("/failures", {**KIND, "decision": decision, **more})
    assert answer.status_code == 200, answer.text
    for row in db.session.scalars(sa.select(FailureDecision)):
        row.decided_at -= timedelta(seconds=ago)
        if row.until is not None:
            row.until -= timedelta(seconds=ago)
    db.session.commit()


def test_what_is_acknowledged_stays_so_however_often_it_happens(context: Flask) -> None:
    operator = Visitor(context, "operator")
    fail(50)
    assert status(operator) == "new"
    decide(operator, "acknowledged", ago=40)
    fail(30)
    assert status(operator) == "acknowledged"
    decide(operator, None)
    assert status(operator) == "new"


def test_what_fails_after_it_was_resolved_is_there_again(context: Flask) -> None:
    operator = Visitor(context, "operator")
    fail(50)
    decide(operator, "resolved", ago=40, note="The disk was full.")
    assert status(operator) == "resolved"
    assert "The disk was full." in operator.get("/failures?show=resolved").text
    fail(30)
    assert status(operator) == "again"


def test_a_snooze_ends(context: Flask) -> None:
    operator = Visitor(context, "operator")
    fail(50)
    decide(operator, "snoozed", snooze="1h", ago=3500)
    assert status(operator) == "snoozed"
    decide(operator, "snoozed", snooze="1h", ago=3700)
    assert status(operator) == "new"


def test_a_later_good_run_resolves_and_ends_what_was_known(context: Flask) -> None:
    operator = Visitor(context, "operator")
    fail(50, schedule_id=7)
    decide(operator, "acknowledged", ago=45)
    make_run(RunState.SUCCEEDED, age=40, schedule_id=7)
    assert status(operator) == "resolved"
    assert "a later run succeeded" in operator.get("/failures?show=resolved").text
    fail(30, schedule_id=7)
    assert status(operator) == "again"
    decide(operator, "acknowledged", ago=20)
    assert status(operator) == "acknowledged"


def test_the_page_shows_errors_as_text_and_what_can_be_done(context: Flask) -> None:
    operator = Visitor(context, "operator")
    assert "No open failures" in operator.get("/failures").text
    run_id = make_run(RunState.FAILED, error="ValueError: <b>no</b>", traceback=TRACE, args="[1, 2]")
    text = operator.get("/failures?span=1h").text
    for part in ("&lt;b&gt;no", f"/runs/{run_id}", "Acknowledge", "Snooze", "Mark as resolved"):
        assert part in text
    search = "state=failed&amp;q=since:1h%20task%3A%22add%22%20%22ValueError%22"
    assert f"/runs/retry-all?{search}" in text
    assert f'id="run-{run_id}"' in operator.get(f"/runs?{search.replace('&amp;', '&')}").text
    assert operator.get("/runs/failures?span=1h").headers["Location"] == "/failures?span=1h"
    viewer = Visitor(context, "viewer")
    text = viewer.get("/failures?span=nonsense&show=nonsense").text
    assert "&lt;b&gt;no" in text
    assert "Acknowledge" not in text.partition("<article")[2]


def test_a_decision_by_form_is_audited(context: Flask) -> None:
    operator = Visitor(context, "operator")
    fail(50)
    answer = operator.post("/failures", {**KIND, "decision": "acknowledged"})
    assert answer.headers["Location"] == "/failures"
    entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "failure.decide")).one()
    assert (entry.object_name, entry.after) == ("add: ValueError", '{"decision": "acknowledged", "note": ""}')


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"decision": "snoozed"}, "snooze"),
        ({"decision": "resolved", "snooze": "1h"}, "snooze"),
        ({"decision": "ignored"}, "decision"),
        ({"decision": "acknowledged", "task": ""}, "task"),
        ({"decision": "resolved", "note": "x" * 2001}, "note"),
    ],
)
def test_a_decision_that_is_none_is_refused(context: Flask, sent: dict[str, str], field: str) -> None:
    answer = Visitor(context, "operator").post_json("/failures", {**KIND, **sent})
    assert answer.status_code == 422
    assert list(answer.get_json()["fields"]) == [field]
    assert db.session.scalars(sa.select(FailureDecision)).all() == []
