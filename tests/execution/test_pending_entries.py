"""A run that ended before its worker was lost is not started again, although its end is not recorded yet."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis as redis_client
from celery import states
from flask import Flask

from beatdesk.execution import pending_entries
from beatdesk.execution.events import GROUP, STREAM, Entry, Event
from tests.runs.making import deliver, make_run
from tests.support import fresh
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.messaging import broker
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run
from webapp.run_store.states import RunState


def append(redis: redis_client.Redis, run_id: str, event: Event, attempt: int = 0) -> None:
    redis.xadd(STREAM, Entry(run_id, event, attempt, now(), "5").fields())


def test_stream_without_entries_has_no_end(redis: redis_client.Redis) -> None:
    assert pending_entries.end_of(redis, "a", 0) is None


@pytest.mark.parametrize("chunk", [1, 1000])
def test_end_that_was_not_read_is_found(redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(pending_entries, "CHUNK_LENGTH", chunk)
    append(redis, "a", Event.STARTED)
    append(redis, "b", Event.FAILED)
    append(redis, "a", Event.SUCCEEDED)
    found = pending_entries.end_of(redis, "a", 0)
    assert found is not None
    assert (found.event, found.text) == (Event.SUCCEEDED, "5")
    assert pending_entries.end_of(redis, "a", 1) is None
    assert pending_entries.end_of(redis, "c", 0) is None


def test_end_that_was_read_and_not_acknowledged_is_found(redis: redis_client.Redis) -> None:
    redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    append(redis, "a", Event.REVOKED)
    redis.xreadgroup(GROUP, "one", {STREAM: ">"})
    assert pending_entries.end_of(redis, "a", 0) is not None


def test_recorded_end_is_not_found(context: Flask, redis: redis_client.Redis, valkey_url: str) -> None:
    recorder = Recorder(db.engine, valkey_url)
    recorder.step()
    append(redis, "a", Event.SUCCEEDED)
    assert recorder.step() == 1
    assert pending_entries.end_of(broker.client(), "a", 0) is None


def test_run_whose_end_is_only_emitted_is_not_executed_again(context: Flask, redis: redis_client.Redis) -> None:
    silent = now() - timedelta(minutes=1)
    run_id = make_run(RunState.STARTED, claims=1, claimed_by="gone", claim_seen_at=silent)
    append(redis, run_id, Event.SUCCEEDED)
    celery.loader.import_default_modules()
    outcome = deliver(celery.tasks["add"], run_id, [2, 3], beatdesk_run=run_id)
    assert outcome.info.state == states.IGNORED
    ended = fresh(Run, run_id)
    assert (ended.state, ended.result, ended.claims) == (RunState.SUCCEEDED, "5", 2)
