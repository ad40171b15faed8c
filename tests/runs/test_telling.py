"""What a worker tells: ends at once, beginnings a moment later or with the end, and nothing less with Redis away."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_client
from flask import Flask

from tests.outages import away
from tests.runs.making import make_run
from tests.servers import wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.database import now
from webapp.runs import telling
from webapp.runs.models import Run
from webapp.runs.states import RunState
from webapp.runs.stream import STREAM, Entry, Event
from webapp.runs.telling import Later, tell, tell_begun, tell_received

Told = Callable[[], list[Entry]]
RECEIVED_AT = 1_900_000_000.25


@pytest.fixture
def told(context: Flask, redis: redis_client.Redis) -> Told:
    """Gives what was told so far."""
    return lambda: [Entry.parse(fields) for _, fields in redis.xrange(STREAM)]


def _never(entries: list[Entry]) -> None:
    pytest.fail(f"told by themselves: {entries}")


def asked(run_id: str = "a", **more: Any) -> Any:
    """A request as whoever executes a task has it."""
    return SimpleNamespace(**{"id": run_id, "retries": 0, "hostname": "w@h", "task": "add", **more})


def events(entries: list[Entry]) -> list[tuple[str, bool, bool]]:
    return [(entry.event.value, entry.began is not None, entry.received is not None) for entry in entries]


def test_a_short_run_tells_its_beginning_with_its_end(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_later", Later(_never, moment=60.0))
    request = asked(beatdesk_received=RECEIVED_AT)
    tell_begun(request)
    tell(request, Event.LINE, "{}")
    tell(request, Event.SUCCEEDED, "5", seconds=0.001)
    [line, ended] = told()
    assert events([line, ended]) == [("line", False, False), ("succeeded", True, True)]
    assert ended.received is not None
    assert ended.received.timestamp() == RECEIVED_AT
    assert ended.began is not None
    assert ended.began <= ended.at


def test_what_goes_on_tells_that_it_has_begun_and_its_end_does_not_repeat_it(told: Told) -> None:
    for run_id in ("a", "b"):
        tell_begun(asked(run_id))
    wait_for(lambda: len(told()) == 2)
    tell(asked("b"), Event.FAILED, "wrong")
    assert [(entry.run_id, *event) for entry, event in zip(told(), events(told()), strict=True)] == [
        ("a", "started", False, False),
        ("b", "started", False, False),
        ("b", "failed", False, False),
    ]


def test_another_attempt_begins_anew(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_later", Later(_never, moment=60.0))
    for attempt, end in ((0, Event.RETRYING), (1, Event.SUCCEEDED)):
        tell_begun(asked(retries=attempt))
        tell(asked(retries=attempt), end, "text")
    assert [(entry.attempt, entry.began is not None) for entry in told()] == [(0, True), (1, True)]


def test_a_worker_says_what_it_has_received_only_while_it_waits(told: Told) -> None:
    waiting, begun = (
        SimpleNamespace(id=name, hostname="w@h", name="add", request_dict={}, time_start=start)
        for name, start in (("waits", None), ("begun", 5.0))
    )
    before = time.time()
    tell_received(begun)
    after = time.time()
    tell_received(waiting)
    wait_for(told)
    assert [(entry.run_id, entry.event) for entry in told()] == [("waits", Event.RECEIVED)]
    # Who executes it learns when that was.
    assert before <= begun.request_dict[telling.RECEIVED] <= after


def test_it_goes_on_after_a_quiet_time_and_after_an_error() -> None:
    entries: list[list[Entry]] = []

    def send(given: list[Entry]) -> None:
        entries.append(given)
        if len(entries) == 1:
            raise ValueError("unlucky")

    later = Later(send, moment=0.001, quiet=0.01)
    for number in range(1, 5):
        later.put(number, lambda: Entry("a", Event.STARTED, 0, now()))
        wait_for(partial(_are, entries, number))
        wait_for(lambda: not later._some.is_set(), message="it never rests")
    assert later.take_back(4) is None


def _are(entries: list[list[Entry]], count: int) -> bool:
    return len(entries) == count


def test_a_restarted_redis_is_told_the_same(told: Told, redis: redis_client.Redis) -> None:
    tell(asked(), Event.SUCCEEDED, "1")
    redis.client_kill_filter(skipme=True, _type="normal")
    tell(asked(), Event.SUCCEEDED, "2")
    assert [entry.text for entry in told()] == ["1", "2"]


def test_with_redis_away_the_end_is_written_at_once(context: Flask, settings: Settings) -> None:
    run_id = make_run(RunState.STARTED)
    with away(settings, redis=True):
        request = asked(run_id, beatdesk_received=RECEIVED_AT)
        tell_begun(request)
        tell(request, Event.SUCCEEDED, "5")
    run = fresh(Run, run_id)
    assert (run.state, run.result) == (RunState.SUCCEEDED, "5")
    assert run.received_at is not None
    assert run.received_at.timestamp() == RECEIVED_AT


def test_a_redis_that_refuses_has_the_end_written_at_once(
    context: Flask, redis: redis_client.Redis, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = make_run(RunState.STARTED)
    tell(asked("another"), Event.SUCCEEDED, "1")
    redis.config_set("maxmemory", "1")
    try:
        tell(asked(run_id), Event.SUCCEEDED, "5")
    finally:
        redis.config_set("maxmemory", "0")
    assert fresh(Run, run_id).result == "5"
    assert "command not allowed when used memory > 'maxmemory'" in caplog.text
    # The same connection goes on.
    tell(asked("a third"), Event.SUCCEEDED, "\r\n$3\r\n\N{SNOWMAN}")
    assert [(entry.run_id, entry.text) for entry in told()] == [("another", "1"), ("a third", "\r\n$3\r\n\N{SNOWMAN}")]
