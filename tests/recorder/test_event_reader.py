"""A time without a reader is a gap on Redis, a time without events is none."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import redis as redis_client
from flask import Flask

from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.recorder import event_reader
from webapp.run_store import observed_workers


def gaps(settings: Settings) -> list[observed_workers.Gap]:
    reader = event_reader.EventReader(celery, db.engine, settings.redis_url)
    reader._note_absence()
    return reader._nodes.gaps


@pytest.mark.parametrize(("seconds", "is_gap"), [(5, False), (3600, True)])
def test_a_time_without_a_reader_is_a_gap(
    context: Flask, settings: Settings, redis: redis_client.Redis, seconds: int, is_gap: bool
) -> None:
    last = now() - timedelta(seconds=seconds)
    redis.set(event_reader.LAST_READ, str(last.timestamp()))
    found = gaps(settings)
    assert [(gap[0], gap[3]) for gap in found] == [(None, None)] * is_gap
    assert all(abs(gap[1] - last) < timedelta(seconds=1) for gap in found)


def test_workers_that_stopped_long_ago_are_no_gap(context: Flask, settings: Settings) -> None:
    long_ago: datetime = now() - timedelta(hours=5)
    seen = ("celery@shop", 7, "py-celery 5.4.0", 0, long_ago, long_ago, long_ago)
    observed_workers.keep_workers(db.session.connection(), [seen], now())
    db.session.commit()
    reader = event_reader.EventReader(celery, db.engine, settings.redis_url)
    reader._look()
    assert gaps(settings) == []
