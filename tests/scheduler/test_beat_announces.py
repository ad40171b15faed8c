"""Beat announces the runs that it creates to live pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import redis as redis_client
import sqlalchemy as sa

from tests.scheduler.beats import RUNS, FakeTime, Rig, at
from tests.servers import free_port, wait_for
from webapp.config import Settings
from webapp.run_store.changes import CHANGES, read
from webapp.scheduler.announcer import REST_SECONDS, Announcer


def announced(redis: redis_client.Redis) -> set[str]:
    found: set[str] = set()
    for _, entry in redis.xrange(CHANGES):
        found |= read(entry).runs or set()
    return found


def test_beat_announces_created_runs(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    begin = at("2027-01-01T00:00:00")
    time = FakeTime(begin)
    beats.interval("sent", 10, saved=begin)
    # The run before it has not ended: the second one is made, and not sent.
    beats.interval("skipped", 10, saved=begin, details={"overlap": "skip"})
    core = beats.beat(time, settings.redis_url)
    core.step(woken=True)
    assert core.lease.held
    for _ in range(20):
        time.pass_by(1)
        core.step(woken=True)
    assert len(beats.runs(state="skipped")) == 1
    made = {run.id for run in beats.runs()}
    assert len(made) == 4
    wait_for(lambda: announced(redis) == made, message="not announced")


def test_beat_announces_ended_and_restarted_runs(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    lost = {"state": "started", "claimed_by": "gone", "claim_seen_at": past, "sent_at": past}
    rows: dict[str, dict[str, Any]] = {
        "expired unsent": {"expires_at": past}, "given up": {**lost, "claims": 4}, "begun again": {**lost, "claims": 1}
    }  # fmt: skip
    with beats.engine.begin() as connection:
        for name, values in rows.items():
            connection.execute(sa.insert(RUNS).values(id=name.replace(" ", "-"), task="add", created_at=past, **values))
    core = beats.beat(FakeTime(datetime.now(UTC)), settings.redis_url)
    core.step(woken=True)
    wait_for(lambda: core.publisher.idle)
    core.step(woken=True)
    wait_for(lambda: announced(redis) >= {"expired-unsent", "given-up", "begun-again"}, message="not announced")
    states = {run.id: run.state for run in beats.runs()}
    assert states == {"expired-unsent": "expired", "given-up": "failed", "begun-again": "queued"}


def test_beat_does_not_wait_for_a_redis_that_is_away() -> None:
    announcer = Announcer(f"redis://127.0.0.1:{free_port()}/0")
    announcer.announce(["one"])
    assert announcer._rest_until > REST_SECONDS
    Announcer(None).announce(["one"])
