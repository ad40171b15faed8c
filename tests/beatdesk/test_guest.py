"""Whatever Beatdesk cannot describe, an adopted worker executes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_client
from celery import Celery
from celery.worker import state as worker_state

from beatdesk.adopted import address, backlog, presence
from beatdesk.adopted.host import RedisHost
from beatdesk.execution import canvas, host, run_task
from beatdesk.execution.events import Entry, Event
from beatdesk.secrecy.masking import NAMES_ONLY, conceal, rule_of


class Array:
    """Like an array of numbers: it cannot be compared, nor written as JSON."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


class Plain(SimpleNamespace):
    """A task, as far as rules go."""

    __hash__ = object.__hash__  # type: ignore[assignment]


@pytest.fixture
def adopted(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> RedisHost:
    """The host of an adopted app, for this process while the test runs."""
    made = RedisHost(Celery("shop", broker=valkey_url, set_as_current=False), valkey_url)
    monkeypatch.setattr(host, "_host", made)
    return made


def test_arguments_of_any_class_are_described(adopted: RedisHost) -> None:
    concealed = conceal(NAMES_ONLY, (Array(),), {"password": Array()})
    assert concealed.any
    chain = [{"task": "next", "args": [Array()], "kwargs": {}, "options": {}}]
    assert "Array" in str(canvas.options_of({"chain": chain}, {}))
    assert "Array" in str(canvas.replacement_by(chain[0]))


def test_a_task_without_a_signature_has_a_rule() -> None:
    assert rule_of(Plain(run=type)).hides("password")


def test_a_task_that_cannot_be_described_is_executed(adopted: RedisHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: Any) -> None:
        raise ValueError("cannot be described")

    monkeypatch.setattr(run_task, "_delivery", raises)

    def pay() -> None:
        """Do nothing."""

    task = adopted.app.task(pay, name="shop.pay", shared=False)
    request = {"id": "one", "args": [], "kwargs": {}}
    assert run_task.execute(task, lambda: "executed", "one", request) == "executed"


def test_two_threads_that_flush_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, others, appended = threading.Event(), threading.Event(), list[str]()

    def append(_client: object, entries: Iterable[Entry]) -> None:
        if not first.is_set():
            first.set()
            others.wait(10)
        appended.extend(entry.run_id for entry in entries)

    monkeypatch.setattr(backlog, "append_all", append)
    kept = backlog.Backlog(redis_client.Redis)
    entries = [Entry(str(number), Event.SUCCEEDED, 0, datetime.now(UTC)) for number in range(20)]
    # Without its own thread.
    kept._entries.extend(entries[:10])
    one = threading.Thread(target=kept.flush)
    one.start()
    assert first.wait(10)
    other = threading.Thread(target=kept.flush)
    other.start()
    kept._entries.extend(entries[10:])
    others.set()
    one.join(10)
    other.join(10)
    assert appended == [entry.run_id for entry in entries]


def test_the_requests_in_hand_are_read_while_others_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    class Changing:
        tries = 0

        def __iter__(self) -> Any:
            self.tries += 1
            if self.tries == 1:
                raise RuntimeError("Set changed size during iteration")
            return iter(["request"])

    monkeypatch.setattr(worker_state, "active_requests", Changing())
    assert presence._active() == ["request"]


def test_a_thread_that_asks_while_another_connects_is_not_refused(
    adopted: RedisHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    real = address.connect

    def connect(*given: Any) -> Any:
        if not asked:
            asked.append(True)
            asked.append(adopted.enabled)
        return real(*given)

    monkeypatch.setattr(address, "connect", connect)
    assert adopted.enabled
    assert asked == [True, True]


def test_the_password_of_a_wrong_address_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    url = "redis://shop:5ecret/word@redis:6379/0"
    assert not RedisHost(Celery("shop", broker="memory://", set_as_current=False), url).enabled
    assert "does not see the runs" in caplog.text
    assert "5ecret" not in caplog.text
