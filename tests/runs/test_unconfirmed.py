"""An unconfirmed run: actions of people, later news that settle it, and where it counts as ended."""

from __future__ import annotations

from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.events import Entry, Event
from beatdesk.execution.host import Delivery
from tests.runs.making import make_run
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.overview.metrics import page
from webapp.recorder import recording
from webapp.run_store import claims, statements
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def unconfirmed(**values: Any) -> str:
    return make_run(RunState.UNCONFIRMED, queue="shop", sent_at=now(), sends=1, reason="no result came", **values)


def audited(action: str) -> list[str]:
    with reading():
        return list(db.session.scalars(sa.select(AuditEntry.object_id).where(AuditEntry.action == action)))


def test_its_page_offers_both_ways_and_names_what_may_happen(operator: Visitor) -> None:
    text = operator.get(f"/runs/{unconfirmed()}").text
    for part in ("Mark as succeeded", "/confirm", "/send-again", "it runs twice", "no result came"):
        assert part in text
    assert "/retry" not in text
    assert "/confirm" not in operator.get(f"/runs/{make_run(RunState.FAILED)}").text


def test_a_person_marks_it_as_succeeded(operator: Visitor) -> None:
    run_id = unconfirmed(sealed="what was secret")
    answer = operator.post(f"/runs/{run_id}/confirm")
    assert (answer.status_code, answer.location) == (303, f"/runs/{run_id}")
    run = fresh(Run, run_id)
    assert (run.state, run.reason) == (RunState.SUCCEEDED, "Marked as succeeded by Sita Gurung")
    assert run.sealed is None
    assert audited("run.confirm") == [run_id]


def test_a_person_sends_it_again(operator: Visitor, redis: redis_client.Redis) -> None:
    run_id = unconfirmed(args="[1, 2]")
    answer = operator.post(f"/runs/{run_id}/send-again")
    assert (answer.status_code, answer.location) == (303, f"/runs/{run_id}")
    run = fresh(Run, run_id)
    assert (run.state, run.sends, run.ended_at) == (RunState.QUEUED, 2, None)
    assert run.sent_at is not None
    assert redis.llen("shop") == 1
    assert audited("run.send_again") == [run_id]
    # A second click, or another person's.
    assert operator.post(f"/runs/{run_id}/send-again").status_code == 409
    assert redis.llen("shop") == 1


@pytest.mark.parametrize("state", [state for state in RunState if state is not RunState.UNCONFIRMED])
def test_no_other_run_is_settled_by_hand(operator: Visitor, state: RunState) -> None:
    run_id = make_run(state)
    assert operator.post(f"/runs/{run_id}/confirm").status_code == 409
    assert operator.post(f"/runs/{run_id}/send-again").status_code == 409
    assert fresh(Run, run_id).state == state


def test_it_takes_an_operator_and_a_token(context: Flask) -> None:
    run_id = unconfirmed()
    for path in (f"/runs/{run_id}/confirm", f"/runs/{run_id}/send-again"):
        assert Visitor(context, "viewer").post(path).status_code == 403
    assert fresh(Run, run_id).state == RunState.UNCONFIRMED


@pytest.mark.parametrize(
    ("event", "state", "reason", "ended"),
    [
        (Event.SUCCEEDED, RunState.SUCCEEDED, None, True),
        (Event.FAILED, RunState.FAILED, None, True),
        (Event.REVOKED, RunState.REVOKED, "3", True),
        (Event.RETRYING, RunState.RETRYING, "3", False),
    ],
)
def test_late_news_settles_it(context: Flask, event: Event, state: RunState, reason: str | None, ended: bool) -> None:
    run_id = unconfirmed()
    with db.engine.begin() as connection:
        recording.apply(connection, [Entry(run_id, event, 0, now(), text="3", entry_id="1-1")])
    run = fresh(Run, run_id)
    assert (run.state, run.reason, run.ended_at is not None) == (state, reason, ended)


def test_a_worker_of_ours_that_takes_it_late_claims_it_once(context: Flask) -> None:
    run_id = unconfirmed()
    delivery = Delivery(run_id, "add", "[2, 3]", "{}", 0, "w", "w@h")
    verdicts = [claims.claim_by_itself(db.engine, delivery, now()) for _ in range(2)]
    assert verdicts == [claims.Verdict.CLAIMED, claims.Verdict.DUPLICATE]
    run = fresh(Run, run_id)
    assert (run.state, run.reason, run.ended_at) == (RunState.STARTED, None, None)


def test_it_is_found_counted_and_no_longer_waited_for(operator: Visitor) -> None:
    run_id = unconfirmed(schedule_id=7, due_at=now())
    assert run_id in operator.get("/runs?q=state:unconfirmed").text
    with reading():
        figures = page("text/plain", now())[0].decode()
        assert 'beatdesk_runs{state="unconfirmed"} 1.0' in figures
        assert 'beatdesk_queues{promise="guarded"} 1.0' in figures
        assert statements.unended_of(db.session.connection(), [7]) == []
