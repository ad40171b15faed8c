"""Changes of runs are announced to live pages, after the commit."""

from __future__ import annotations

from typing import Any

import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.events import STREAM, Entry, Event
from tests.outages import away
from tests.runs.making import make_run
from tests.support import fresh
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder.recorder import Recorder
from webapp.run_store.changes import CHANGES, MAX_IDS, Change, announce, fields, read
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control


def announced(redis: redis_client.Redis) -> list[Change]:
    entries: Any = redis.xrange(CHANGES)
    return [read(entry) for _, entry in entries]


def of(*run_ids: str) -> Change:
    return Change(frozenset(run_ids))


def test_recorder_announces_committed_changes(
    context: Flask, settings: Settings, redis: redis_client.Redis, monkeypatch: Any
) -> None:
    run_id = make_run(RunState.STARTED)
    recorder = Recorder(db.engine, settings.redis_url)
    recorder.step()
    redis.xadd(STREAM, Entry(run_id, Event.SUCCEEDED, 0, now(), text="5").fields())
    redis.xadd(STREAM, {"not": "ours"})
    seen: list[str] = []
    execute = redis_client.client.Pipeline.execute

    def look_first(pipeline: Any, *more: Any) -> Any:
        with db.engine.connect() as connection:
            seen.append(connection.scalar(sa.select(Run.state).where(Run.id == run_id)) or "")
        return execute(pipeline, *more)

    monkeypatch.setattr(redis_client.client.Pipeline, "execute", look_first)
    assert recorder.step() == 2
    assert seen == [RunState.SUCCEEDED]
    assert announced(redis) == [of(run_id)]
    assert redis.xpending(STREAM, "recorder")["pending"] == 0


def test_pages_announce_their_changes(context: Flask, redis: redis_client.Redis) -> None:
    made = control.launch("add", [1, 2], person=None)
    assert announced(redis) == [of(made.id)]
    control.cancel(fresh(Run, made.id))
    assert announced(redis)[1:] == [of(made.id)]


def test_many_changes_are_announced_without_ids() -> None:
    few = [str(number) for number in range(MAX_IDS)]
    assert read(fields(few)) == of(*few)
    many = read(fields(few, ["one more"]))
    assert many.runs is None
    assert many.concerns("whatever")
    assert many.concerns_lists


def test_lists_get_no_changes_that_they_do_not_show(
    context: Flask, settings: Settings, redis: redis_client.Redis
) -> None:
    first, second = make_run(RunState.STARTED), make_run(RunState.STARTED)
    recorder = Recorder(db.engine, settings.redis_url)
    recorder.step()
    for run_id, event in ((first, Event.PROGRESS), (second, Event.LINE), (second, Event.STARTED)):
        redis.xadd(STREAM, Entry(run_id, event, 0, now(), text="{}").fields())
    assert recorder.step() == 3
    assert announced(redis) == [Change(frozenset({second}), frozenset({first}))]
    assert Change(details=frozenset({first})).concerns(first)
    assert not Change(details=frozenset({first})).concerns_lists


def test_stream_stays_short(redis: redis_client.Redis) -> None:
    for number in range(2_000):
        announce(redis, [str(number)])
    assert redis.xlen(CHANGES) < 1_000


def test_without_redis_nothing_is_announced_and_nothing_fails(settings: Settings) -> None:
    with away(settings, redis=True):
        made = control.launch("add", [1, 2], person=None)
        assert fresh(Run, made.id).state == RunState.QUEUED
