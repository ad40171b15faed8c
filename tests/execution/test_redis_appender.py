"""Appending through connections whose replies are read later: every entry arrives, whenever replies are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_client

from beatdesk.execution.events import STREAM, Entry, Event
from beatdesk.execution.redis_appender import MAX_UNREAD, RedisAppender
from webapp.database.engine import now


@pytest.fixture
def refused() -> list[Entry]:
    """The entries that may not have arrived."""
    return []


@pytest.fixture
def appender(redis: redis_client.Redis, valkey_url: str, refused: list[Entry]) -> Iterator[RedisAppender]:
    with redis_client.Redis.from_url(valkey_url, decode_responses=True) as client:
        yield RedisAppender(client.connection_pool, refused.append)


def entry(name: object) -> Entry:
    return Entry(str(name), Event.SUCCEEDED, 0, now(), text="\r\n+OK\r\n")


def there(redis: redis_client.Redis) -> list[str]:
    return [fields["run"] for _, fields in redis.xrange(STREAM)]


def test_more_than_may_stay_unread_arrive_in_order(redis: redis_client.Redis, appender: RedisAppender) -> None:
    names = [str(number) for number in range(3 * MAX_UNREAD)]
    for name in names:
        appender.append(entry(name), wait=False)
    appender.read_answers()
    assert there(redis) == names
    assert [connection.unanswered for connection in appender._idle] == [[]]


def test_an_answer_that_is_waited_for_is_ones_own(redis: redis_client.Redis, appender: RedisAppender) -> None:
    appender.append(entry("early"), wait=False)
    redis.delete(STREAM)
    redis.set(STREAM, "no stream")
    with pytest.raises(redis_client.ResponseError):
        appender.append(entry("late"))


def test_what_was_not_taken_is_refused_and_the_line_given_up(
    redis: redis_client.Redis, appender: RedisAppender, refused: list[Entry]
) -> None:
    redis.set(STREAM, "no stream")
    entries = [entry(name) for name in "ab"]
    for one in entries:
        appender.append(one, wait=False)
    appender.read_answers()
    assert refused == entries
    assert appender._idle == []
    redis.delete(STREAM)
    appender.append(entry("c"))
    assert there(redis) == ["c"]


def test_an_end_in_the_middle_of_reading_loses_nothing(
    appender: RedisAppender, refused: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise SystemExit

    one = entry("a")
    appender.append(one, wait=False)
    monkeypatch.setattr(appender._idle[0].raw, "read_response", stop)
    with pytest.raises(SystemExit):
        appender.append(entry("b"))
    assert refused == [one]


def test_a_connection_is_not_asked_for_its_health_while_answers_are_to_come(
    redis: redis_client.Redis, appender: RedisAppender, refused: list[Entry]
) -> None:
    for name in "abc":
        appender.append(entry(name), wait=False)
        # As after its interval.
        appender._idle[0].raw.next_health_check = 0
        appender._idle[0].raw.health_check_interval = 1
    appender.read_answers()
    assert (there(redis), refused) == (["a", "b", "c"], [])


def test_threads_append_while_another_one_looks(
    redis: redis_client.Redis, appender: RedisAppender, refused: list[Entry]
) -> None:
    done = threading.Event()

    def append(number: int) -> None:
        for count in range(100):
            appender.append(entry(f"{number} {count}"), wait=count % 10 == 0)

    def look() -> None:
        while not done.is_set():
            appender.read_answers()

    looking = threading.Thread(target=look)
    looking.start()
    _all(append, 8)
    done.set()
    looking.join()
    appender.read_answers()
    assert sorted(there(redis)) == sorted(f"{number} {count}" for number in range(8) for count in range(100))
    assert refused == []


def _all(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
