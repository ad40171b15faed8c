"""Real beats: `celery -A wsgi:celery beat`, killed, stopped, two at once, with the broker away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa

from tests import processes
from tests.processes import Process, running
from tests.scheduler.beats import Rig
from tests.servers import wait_for
from tests.soak import beats as soak
from tests.soak.measure import failures
from webapp.config import Settings
from webapp.messaging.beat_wakeup import CHANNEL

pytestmark = pytest.mark.slow


POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def beat(settings: Settings, name: str = "beat") -> Iterator[Process]:
    """A beat process that has loaded the schedules."""
    arguments = ["celery", "-A", "wsgi:celery", "beat", "--loglevel", "INFO"]
    with running(Process(settings, name, arguments)) as process:
        yield process


def _one(beats: Rig, query: str, **values: Any) -> Any:
    with beats.engine.connect() as connection:
        return connection.execute(sa.text(query), values).first()


def _leader(beats: Rig) -> int | None:
    row = _one(beats, "SELECT b.pid FROM beat_lease l JOIN beats b ON b.id = l.holder")
    return row.pid if row else None


def _led_by(beats: Rig, process: Process, seconds: float = 30) -> None:
    wait_for(lambda: _leader(beats) == process.popen.pid, seconds=seconds, message=f"{process.name} did not lead")


@POSTGRESQL
def test_edits_are_in_force_whether_announced_or_not(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    made = beats.interval("i", 3600, saved=datetime.now(UTC))
    with beat(settings) as process:
        _led_by(beats, process)
        for number in range(4):
            beats.execute("UPDATE celery_periodictask SET args = :args WHERE id = :id", args=f"[{number}]", id=made)
            if number % 2 == 0:
                redis.publish(CHANNEL, "edited")
            latest = _one(beats, "SELECT revision FROM schedule_revision").revision
            wait_for(lambda now=latest: _one(beats, "SELECT revision FROM beats").revision >= now, seconds=20)  # type: ignore[misc]


@pytest.mark.each_database
def test_two_beats_one_killed(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    assert failures(soak.killed(beats, settings, redis, kills=1, every=1)) == []


@SQLITE
def test_killed_right_after_firing_many(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=8)
    for number in range(50):
        beats.interval(f"s{number}", 3600, saved=datetime.now(UTC), start_time=start)
    with beat(settings, "killed") as process:
        _led_by(beats, process)
        wait_for(beats.runs, seconds=15)
        process.kill()
    with beat(settings, "next") as process:
        _led_by(beats, process)
        wait_for(lambda: len(beats.runs()) == 50 and all(run.sent_at for run in beats.runs()), seconds=15)
    runs = beats.runs()
    assert {run.due_at for run in runs} == {start}
    assert set(soak.message_ids(redis)) == {run.id for run in runs}


@POSTGRESQL
def test_stopped_and_continued_it_publishes_nothing(beats: Rig, settings: Settings, redis: redis_client.Redis) -> None:
    assert failures(soak.stopped(beats, settings, redis, seconds=4)) == []


@SQLITE
def test_a_graceful_stop_lets_the_other_lead_at_once(beats: Rig, settings: Settings) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(beat(settings, "first"))
        _led_by(beats, first)
        second = stack.enter_context(beat(settings, "second"))
        wait_for(lambda: _one(beats, "SELECT count(*) AS many FROM beats").many == 2, seconds=30)
        first.popen.terminate()
        first.popen.wait(10)
        _led_by(beats, second, seconds=1.5)
        assert first.popen.returncode == 0


@SQLITE
def test_a_stock_worker_executes_what_beat_sends(beats: Rig, settings: Settings) -> None:
    with processes.recorder(settings), processes.worker(settings, "--pool", "solo"), beat(settings):
        made = beats.interval("i", 1, saved=datetime.now(UTC), args="[20, 22]")
        wait_for(lambda: len(beats.runs(made, "succeeded")) >= 2, seconds=30)
        beats.execute("UPDATE celery_periodictask SET enabled = false")
    assert {run.result for run in beats.runs(made, "succeeded")} == {"42"}
    assert {run.claims for run in beats.runs(made, "succeeded")} == {1}
