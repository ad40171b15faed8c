"""`/metrics`: figures as Prometheus reads them, from database, Redis and broker, for admins and token holders."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from beatdesk.execution.events import STREAM, Entry, Event
from tests.runs.making import make_run, make_runs
from tests.visitors import Visitor
from webapp.config import ConfigError, Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder import counters
from webapp.recorder.recorder import Recorder
from webapp.run_store.states import Origin, RunState
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.beat_models import Beat, BeatLease

TOKEN = "a-token-of-this-test"
Figures = dict[tuple[str, ...], float]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(metrics_token=TOKEN)


@pytest.fixture
def figures(context: Flask) -> Callable[[], Figures]:
    """Reads the page: values by name and labels, in the order of the labels' names."""
    visitor = Visitor(context)

    def read() -> Figures:
        answer = visitor.get("/metrics", accept="text/plain", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.text
        assert answer.content_type.startswith("text/plain; version=")
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return read


def make_worker(name: str, *, id_: str, seen: float = 0.0) -> None:
    at = now() - timedelta(seconds=seen)
    values = {"host": "host", "pid": 1, "pool": "prefork", "concurrency": 2, "queues": '["beatdesk", "slow"]'}
    db.session.execute(sa.insert(Worker).values(id=id_, name=name, started_at=at, seen_at=at, **values))
    db.session.commit()


def test_flowers_metrics_count_events_of_workers(
    context: Flask, settings: Settings, redis: redis_client.Redis, figures: Callable[[], Figures]
) -> None:
    make_worker("a@host", id_="a")
    make_worker("a@host", id_="before", seen=60)
    make_worker('b"@host', id_="b", seen=60)
    at = now()
    make_run(RunState.STARTED, claimed_by="a", worker="a@host", received_at=at - timedelta(seconds=3), started_at=at)
    recorder = Recorder(db.engine, settings.redis_url)
    recorder.step()
    for seconds in (0.004, 0.3, 400.0):
        run_id = make_run(RunState.STARTED)
        begun = Entry(run_id, Event.STARTED, 0, now(), worker="a@host", task="add", received=now())
        ended = Entry(run_id, Event.SUCCEEDED, 0, now(), "null", worker="a@host", task="add", seconds=seconds)
        if seconds < 0.1:
            # Its start was not emitted before its end.
            ended = ended._replace(began=begun.at, received=begun.received)
        else:
            redis.xadd(STREAM, begun.fields())
        for entry in (Entry(run_id, Event.RECEIVED, 0, now(), worker="a@host", task="add"), ended):
            redis.xadd(STREAM, entry.fields())
    redis.xadd(STREAM, Entry("x", Event.FAILED, 0, now(), worker='b"@host', task="say hello").fields())
    redis.xadd(STREAM, Entry("x", Event.LINE, 0, now(), "{}", worker="a@host", task="add").fields())
    while recorder.step():
        pass
    found = figures()
    assert found["flower_events_total", "add", "task-succeeded", "a@host"] == 3
    assert found["flower_events_total", "add", "task-received", "a@host"] == 3
    assert found["flower_events_total", "add", "task-started", "a@host"] == 3
    assert found["flower_events_total", "say hello", "task-failed", 'b"@host'] == 1
    assert sum(name == "flower_events_total" for name, *_ in found) == 4
    buckets = {limit: found["flower_task_runtime_seconds_bucket", limit, "add", "a@host"] for limit in ("0.005", "0.5")}
    assert buckets == {"0.005": 1, "0.5": 2}
    assert found["flower_task_runtime_seconds_bucket", "300.0", "add", "a@host"] == 2
    assert found["flower_task_runtime_seconds_count", "add", "a@host"] == 3
    assert found["flower_task_runtime_seconds_sum", "add", "a@host"] == pytest.approx(400.304)
    assert found["flower_task_prefetch_time_seconds", "add", "a@host"] == pytest.approx(3)
    assert (found["flower_worker_online", "a@host"], found["flower_worker_online", 'b"@host']) == (1, 0)
    assert found["flower_worker_number_of_currently_executing_tasks", "a@host"] == 1
    assert (found["beatdesk_recorders",], found["beatdesk_recorder_lag_entries",]) == (1, 0)
    assert redis.ttl(counters.KEY.format(worker="a@host")) > 80_000


def test_what_is_recorded_twice_is_counted_once(
    context: Flask, settings: Settings, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Recorder(db.engine, settings.redis_url), Recorder(db.engine, settings.redis_url)
    second.name = "second"
    first.step()
    redis.xadd(STREAM, Entry(make_run(), Event.STARTED, 0, now(), worker="w", task="add").fields())
    # Killed after the commit and before the acknowledgement.
    monkeypatch.setattr(counters, "add", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.step()
    monkeypatch.undo()
    monkeypatch.setattr("webapp.recorder.recorder.ABANDONED_AFTER_MS", 0)
    assert second.step() == 1
    assert counters.read(redis, ["w"])["w", "add"].events == {"task-started": 1}


def test_runs_queues_and_the_recorders_lag(
    context: Flask, redis: redis_client.Redis, figures: Callable[[], Figures], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.overview.metrics.MAX_COUNTED", 20)
    make_worker("a@host", id_="a")
    make_runs(30)
    make_run(RunState.QUEUED, age=90, queue="slow")
    redis.lpush("slow", "message", "message")
    redis.xadd(STREAM, {"run": "x"}, id=f"{int((now().timestamp() - 60) * 1000)}-0")
    redis.xgroup_create(STREAM, "recorder", id="0")
    found = figures()
    assert (found["beatdesk_runs", "succeeded"], found["beatdesk_runs", "queued"]) == (20, 1)
    assert {state.value for state in RunState} == {labels[0] for name, *labels in found if name == "beatdesk_runs"}
    assert (found["beatdesk_queue_depth", "slow"], found["beatdesk_queue_depth", "beatdesk"]) == (2, 0)
    assert found["beatdesk_queue_oldest_seconds", "slow"] == pytest.approx(90, abs=10)
    assert found["beatdesk_recorder_lag_entries",] == 1
    assert found["beatdesk_recorder_lag_seconds",] == pytest.approx(60, abs=10)
    assert all(found["beatdesk_up", part] == 1 for part in ("database", "redis", "broker"))


def test_beats_and_what_they_missed(context: Flask, figures: Callable[[], Figures]) -> None:
    assert figures()["beatdesk_beat_leading",] == 0
    at = now()
    beat = {"host": "host", "pid": 1, "revision": 7, "schedules": 3, "started_at": at}
    db.session.execute(sa.insert(Beat).values(id="l", leading=True, seen_at=at - timedelta(seconds=2), **beat))
    db.session.execute(sa.insert(Beat).values(id="s", leading=False, seen_at=at, **beat))
    db.session.execute(sa.update(BeatLease).values(expires_at=at + timedelta(seconds=3), missed=5))
    db.session.commit()
    due: dict[str, Any] = {"origin": Origin.SCHEDULE, "schedule_id": 1}
    make_run(RunState.QUEUED, created_at=at - timedelta(seconds=10), due_at=at - timedelta(seconds=12), **due)
    make_run(RunState.MISSED, age=10, due_at=at - timedelta(hours=1), **due)
    make_run(RunState.QUEUED, age=600, due_at=at - timedelta(hours=2), **due)
    found = figures()
    assert (found["beatdesk_beats",], found["beatdesk_beat_leading",], found["beatdesk_missed_total",]) == (2, 1, 5)
    assert (found["beatdesk_beat_applied_revision",], found["beatdesk_beat_schedules",]) == (7, 3)
    assert found["beatdesk_schedules_revision",] >= 0
    assert found["beatdesk_beat_seen_seconds",] == pytest.approx(2, abs=5)
    assert found["beatdesk_beat_lease_seconds",] == pytest.approx(3, abs=5)
    assert found["beatdesk_due_lateness_seconds",] == pytest.approx(2)


def test_only_admins_and_the_token_get_in(context: Flask) -> None:
    assert Visitor(context, "admin").get("/metrics").status_code == 200
    assert Visitor(context, "scheduler").get("/metrics", accept="text/plain").status_code == 403
    visitor = Visitor(context)
    assert visitor.get("/metrics", accept="text/plain").status_code == 303
    for given in ("Bearer wrong", "Bearer ", f"bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer é"):
        answer = visitor.get("/metrics", accept="text/plain", headers={"Authorization": given})
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), given
    assert visitor.get("/metrics", accept="text/plain", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 303
    # It opens this one door.
    assert visitor.get("/runs", accept="text/plain", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 303


def test_openmetrics_is_spoken_too(context: Flask) -> None:
    accept = "application/openmetrics-text;version=1.0.0"
    answer = Visitor(context).get("/metrics", accept=accept, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.content_type.startswith("application/openmetrics-text")
    names = {family.name for family in parse_openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"flower_events", "beatdesk_runs", "beatdesk_missed"} <= names


def test_part_that_is_away_takes_only_its_own_figures_along(context: Flask, figures: Callable[[], Figures]) -> None:
    context.extensions["settings"] = context.extensions["settings"].with_changes(redis_url="redis://127.0.0.1:1/0")
    context.extensions.pop("redis", None)
    found = figures()
    assert (found["beatdesk_up", "redis"], found["beatdesk_up", "database"]) == (0, 1)
    assert ("beatdesk_recorders",) not in found
    assert found["beatdesk_runs", "failed"] == 0


@pytest.mark.parametrize("token", ["short", "é" * 20])
def test_token_that_cannot_serve_is_refused_at_the_start(token: str) -> None:
    with pytest.raises(ConfigError, match="METRICS_TOKEN"):
        Settings.from_env({"SECRET_KEY": "0123456789abcdef", "METRICS_TOKEN": token})
