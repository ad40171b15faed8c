"""A worker or a beat is alive until its limit, the same in Python and SQL."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from webapp import liveness
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.beat_models import Beat, alive_beats
from webapp.workers.waiting import heartbeats

pytestmark = pytest.mark.each_database

TICK = timedelta(microseconds=1)


@pytest.mark.parametrize("limit", [liveness.WORKER_GONE_AFTER, liveness.WORKER_LOST_AFTER])
def test_a_worker_is_alive_until_the_limit_unless_it_stopped(context: Flask, limit: timedelta) -> None:
    at = now()
    rows = {"in time": (limit - TICK, None), "silent": (limit, None), "stopped": (timedelta(), at)}
    for name, (silence, stopped_at) in rows.items():
        seen = {"seen_at": at - silence, "stopped_at": stopped_at}
        db.session.add(Worker(id=name, name=name, host="h", pid=1, pool="solo", concurrency=1, **seen))
    db.session.commit()
    by_sql = db.session.scalars(sa.select(Worker.name).where(Worker.alive(at, limit))).all()
    by_python = [worker.name for worker in db.session.scalars(sa.select(Worker)) if worker.alive(at, limit)]
    assert by_sql == by_python == ["in time"]
    if limit == liveness.WORKER_GONE_AFTER:
        assert {beat.name: beat.alive for beat in heartbeats(at)} == {
            "in time": True,
            "silent": False,
            "stopped": False,
        }


def test_a_beat_is_alive_until_the_limit_and_the_leading_one_comes_first(context: Flask) -> None:
    at = now()
    limit = liveness.BEAT_GONE_AFTER
    for name, leading, silence in (("by", False, limit - TICK), ("leads", True, limit - TICK), ("gone", True, limit)):
        db.session.add(Beat(id=name, host=name, pid=1, leading=leading, seen_at=at - silence))
    db.session.commit()
    assert [beat.host for beat in alive_beats(db.session, at)] == ["leads", "by"]


def test_gone_comes_before_lost_and_several_heartbeats_after_the_last() -> None:
    assert liveness.WORKER_GONE_AFTER.total_seconds() >= 2 * liveness.WORKER_HEARTBEAT
    assert liveness.WORKER_GONE_AFTER < liveness.WORKER_LOST_AFTER <= liveness.CLAIM_TIMEOUT
    assert liveness.LEASE_RENEWAL < liveness.LEASE_DURATION < liveness.BEAT_GONE_AFTER.total_seconds()
    assert liveness.RECORDER_GONE_AFTER.total_seconds() >= 2 * liveness.RECORDER_HEARTBEAT
    assert liveness.RECORDER_GONE_AFTER < liveness.RECORDER_LOST_AFTER
