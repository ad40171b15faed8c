"""A worker emits ends immediately, starts a moment later or with the end, and loses nothing while Redis is down."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import redis as redis_client
from celery import signals
from flask import Flask

from beatdesk.execution import emitter, publishing
from beatdesk.execution.current import Execution, reset_current, set_current
from beatdesk.execution.delayed_queue import DelayedQueue
from beatdesk.execution.emitter import emit, emit_received, emit_started
from beatdesk.execution.events import STREAM, Entry, Event
from beatdesk.execution.ids import id_of_task
from tests.outages import away
from tests.runs.making import make_run
from tests.servers import valkey, wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.database.engine import now
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

Emitted = Callable[[], list[Entry]]
RECEIVED_AT = 1_900_000_000.25


@pytest.fixture
def emitted(context: Flask, redis: redis_client.Redis) -> Emitted:
    """Returns the entries so far."""
    return lambda: [Entry.parse(fields) for _, fields in redis.xrange(STREAM)]


def _never(entries: list[Entry]) -> None:
    pytest.fail(f"emitted without a call: {entries}")


def asked(run_id: str = "a", **more: Any) -> Any:
    """A request as a running task has it."""
    return SimpleNamespace(**{"id": run_id, "retries": 0, "hostname": "w@h", "task": "add", **more})


def events(entries: list[Entry]) -> list[tuple[str, bool, bool]]:
    return [(entry.event.value, entry.began is not None, entry.received is not None) for entry in entries]


def test_short_run_emits_its_start_with_its_end(emitted: Emitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "_delayed", DelayedQueue(_never, delay=60.0))
    request = asked(beatdesk_received=RECEIVED_AT)
    emit_started(request)
    emit(request, Event.LINE, "{}")
    emit(request, Event.SUCCEEDED, "5", seconds=0.001)
    [line, ended] = emitted()
    assert events([line, ended]) == [("line", False, False), ("succeeded", True, True)]
    assert ended.received is not None
    assert ended.received.timestamp() == RECEIVED_AT
    assert ended.began is not None
    assert ended.began <= ended.at


def test_longer_run_emits_its_start_and_its_end_does_not_repeat_it(emitted: Emitted) -> None:
    for run_id in ("a", "b"):
        emit_started(asked(run_id))
    wait_for(lambda: len(emitted()) == 2)
    emit(asked("b"), Event.FAILED, "wrong")
    assert [(entry.run_id, *event) for entry, event in zip(emitted(), events(emitted()), strict=True)] == [
        ("a", "started", False, False),
        ("b", "started", False, False),
        ("b", "failed", False, False),
    ]


def test_another_attempt_begins_anew(emitted: Emitted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emitter, "_delayed", DelayedQueue(_never, delay=60.0))
    for attempt, end in ((0, Event.RETRYING), (1, Event.SUCCEEDED)):
        emit_started(asked(retries=attempt))
        emit(asked(retries=attempt), end, "text")
    assert [(entry.attempt, entry.began is not None) for entry in emitted()] == [(0, True), (1, True)]


def test_worker_emits_a_receipt_only_while_the_run_waits(emitted: Emitted) -> None:
    waiting, begun = (
        SimpleNamespace(
            id=name,
            message=SimpleNamespace(payload=([], {}, {})),
            request_dict={"id": name, "hostname": "w@h", "task": "add", "args": [], "kwargs": {}},
            time_start=start,
        )
        for name, start in (("waits", None), ("begun", 5.0))
    )
    before = time.time()
    emit_received(begun)
    after = time.time()
    emit_received(waiting)
    wait_for(emitted)
    assert [(entry.run_id, entry.event) for entry in emitted()] == [(id_of_task("waits"), Event.RECEIVED)]
    # Who executes it learns when that was.
    assert before <= begun.request_dict[emitter.RECEIVED] <= after


def test_it_goes_on_after_a_quiet_time_and_after_an_error() -> None:
    entries: list[list[Entry]] = []

    def send(given: list[Entry]) -> None:
        entries.append(given)
        if len(entries) == 1:
            raise ValueError("unlucky")

    later = DelayedQueue(send, delay=0.001, quiet=0.01)
    for number in range(1, 5):
        later.put(number, lambda: Entry("a", Event.STARTED, 0, now()))
        wait_for(partial(_are, entries, number))
        wait_for(lambda: not later._pending.is_set(), message="it never rests")
    assert later.withdraw(4) is None


def _are(entries: list[list[Entry]], count: int) -> bool:
    return len(entries) == count


@pytest.mark.parametrize("end", [Event.SUCCEEDED, Event.FAILED])
def test_restarted_redis_gets_the_same_entries(emitted: Emitted, redis: redis_client.Redis, end: Event) -> None:
    emit(asked(), end, "1")
    redis.client_kill_filter(skipme=True, _type="normal")
    emit(asked(), end, "2")
    # What was on its way may come twice.
    wait_for(lambda: {entry.text for entry in emitted()} == {"1", "2"})


def test_with_redis_away_the_end_is_written_at_once(context: Flask, settings: Settings) -> None:
    run_id = make_run(RunState.STARTED)
    with away(settings, redis=True):
        request = asked(run_id, beatdesk_received=RECEIVED_AT)
        emit_started(request)
        emit(request, Event.SUCCEEDED, "5")
    run = fresh(Run, run_id)
    assert (run.state, run.result) == (RunState.SUCCEEDED, "5")
    assert run.received_at is not None
    assert run.received_at.timestamp() == RECEIVED_AT


@pytest.fixture
def refusing(redis: redis_client.Redis) -> Iterator[Callable[[], None]]:
    """Returns a function that makes Redis refuse all entries, until the end of the test."""
    yield lambda: redis.config_set("maxmemory", "1")
    redis.config_set("maxmemory", "0")


@pytest.mark.parametrize(("end", "column"), [(Event.SUCCEEDED, Run.result), (Event.FAILED, Run.error)])
def test_a_redis_that_refuses_has_the_end_written(  # noqa: PLR0917  # fixtures and parameters
    context: Flask,
    redis: redis_client.Redis,
    refusing: Callable[[], None],
    emitted: Emitted,
    caplog: pytest.LogCaptureFixture,
    end: Event,
    column: Any,
) -> None:
    run_id = make_run(RunState.STARTED)
    emit(asked("another"), end, "1")
    wait_for(emitted)
    refusing()
    emit(asked(run_id), end, "5")
    wait_for(lambda: getattr(fresh(Run, run_id), column.key) == "5")
    assert "command not allowed when used memory > 'maxmemory'" in caplog.text
    redis.config_set("maxmemory", "0")
    # It goes on.
    emit(asked("a third"), end, "\r\n$3\r\n\N{SNOWMAN}")
    third = ("a third", "\r\n$3\r\n\N{SNOWMAN}")
    wait_for(lambda: [(entry.run_id, entry.text) for entry in emitted()] == [("another", "1"), third])


def test_a_process_that_ends_has_written_what_redis_refused(
    context: Flask, refusing: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emitter, "_delayed", DelayedQueue(emitter._append_delayed, delay=60.0))
    run_ids = [make_run(RunState.STARTED) for _ in range(3)]
    refusing()
    for run_id in run_ids:
        emit(asked(run_id), Event.SUCCEEDED, "5")
    assert [fresh(Run, run_id).state for run_id in run_ids] == [RunState.STARTED] * 3
    signals.worker_process_shutdown.send(None, pid=1, exitcode=0)
    assert [fresh(Run, run_id).result for run_id in run_ids] == ["5"] * 3


def test_end_is_written_if_redis_hangs_after_it_was_emitted(context: Flask, tmp_path: Path) -> None:
    run_id = make_run(RunState.STARTED)
    with valkey(tmp_path) as url:
        context.extensions["redis"] = client = broker.connect(url, timeout=0.3)
        emit(asked("another"), Event.SUCCEEDED, "1")
        server = psutil.Process(client.info("server")["process_id"])
        server.suspend()
        try:
            emit(asked(run_id), Event.SUCCEEDED, "5")
            wait_for(lambda: fresh(Run, run_id).result == "5")
        finally:
            server.resume()


def test_a_run_is_sent_before_a_worker_can_have_begun_it(emitted: Emitted) -> None:
    headers: dict[str, Any] = {"id": str(uuid.uuid4()), "task": "add"}
    token = set_current(Execution("a", "a", "samples.parent", 0, "w@h"))
    try:
        publishing._publishing(headers)
        begun = now()
        publishing._published("add", headers, ((1, 2), {}, {}), "beatdesk")
    finally:
        reset_current(token)
    [entry] = emitted()
    assert (entry.event, entry.run_id) == (Event.PUBLISHED, headers["id"])
    assert entry.at <= begun
