"""A run that a worker keeps for later, as for a rate limit, is not taken for lost."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.support import fresh
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store import claims, promise, statements
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def test_held_run_is_not_lost_until_its_worker_stops_naming_it(context: Flask) -> None:
    long_ago = now() - timedelta(minutes=10)
    kept, lost, forgotten = (
        make_run(RunState.QUEUED, sent_at=long_ago, claim_seen_at=seen) for seen in (None, None, long_ago)
    )
    started = make_run(RunState.STARTED, sent_at=long_ago)
    with db.engine.begin() as connection:
        claims.renew_waiting(connection, [])
        claims.renew_waiting(connection, [kept, started, "unknown"])
        found = {one.run.id for one in statements.sent_long_ago(connection, promise.guarded([]), now(), 10)}
    assert found == {lost, forgotten}
    assert fresh(Run, started).claim_seen_at is None
    seen = fresh(Run, kept).claim_seen_at
    with db.engine.begin() as connection:
        claims.renew_waiting(connection, [kept])
    # Not written again with each heartbeat.
    assert fresh(Run, kept).claim_seen_at == seen
