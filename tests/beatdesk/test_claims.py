"""The script that decides in Redis whether a delivery is executed."""

from __future__ import annotations

import json
import os
import time

import pytest
import redis as redis_client

from beatdesk.adopted.claims import EPOCH_KEY, OVER, WORKER_KEY, Answer, Claim, RedisClaims, Sending

KEY = "beatdesk:claim:run:0:0"


def claim(
    redis: redis_client.Redis,
    worker_id: str = "one",
    *,
    late: bool = True,
    sending: Sending = Sending.FIRST,
    first_sent: float | None = None,
) -> Answer:
    sent = time.time() + 60 if first_sent is None else first_sent
    return RedisClaims(redis.connection_pool).claim(Claim(KEY, worker_id, late, sending, sent))


def hold(redis: redis_client.Redis, *, late: bool = True, process: int = 12345, seconds_ago: int = 60) -> None:
    redis.set(KEY, f"other {process} {int(late)} 0 {int(time.time()) - seconds_ago}")


def show(redis: redis_client.Redis, processes: str) -> None:
    redis.set(WORKER_KEY.format(worker_id="other"), json.dumps({"processes": processes}))


def test_a_first_delivery_goes_and_is_remembered_for_a_bounded_time(redis: redis_client.Redis) -> None:
    assert claim(redis) is Answer.GO
    assert str(redis.get(KEY)).startswith(f"one {os.getpid()} 1 ")
    assert 0 < int(str(redis.ttl(KEY))) <= 24 * 3600


@pytest.mark.parametrize("sending", [Sending.FIRST, Sending.AGAIN])
def test_what_is_over_is_not_executed_again(redis: redis_client.Redis, sending: Sending) -> None:
    redis.set(KEY, OVER)
    assert claim(redis, sending=sending) is Answer.DONE


def test_a_claim_of_a_living_process_is_held(redis: redis_client.Redis) -> None:
    hold(redis)
    show(redis, ",12,12345,")
    assert claim(redis) is Answer.HELD


def test_a_process_that_has_just_begun_may_not_be_named_yet(redis: redis_client.Redis) -> None:
    hold(redis, seconds_ago=1)
    show(redis, ",12,")
    assert claim(redis) is Answer.HELD


def test_a_claim_of_a_dead_process_is_taken_over_where_its_task_is_acknowledged_late(
    redis: redis_client.Redis,
) -> None:
    hold(redis)
    # Another process whose number has the same digits in it.
    show(redis, ",12,1234,")
    assert claim(redis) is Answer.TAKEN_OVER
    assert str(redis.get(KEY)).startswith("one ")


@pytest.mark.parametrize(("sending", "answer"), [(Sending.FIRST, Answer.LOST), (Sending.ASKED, Answer.TAKEN_OVER)])
def test_of_another_task_it_is_lost_unless_a_person_asks(
    redis: redis_client.Redis, sending: Sending, answer: Answer
) -> None:
    hold(redis, late=False)
    show(redis, ",12,")
    assert claim(redis, sending=sending) is answer


def test_a_person_has_what_is_over_executed_again(redis: redis_client.Redis) -> None:
    redis.set(KEY, OVER)
    assert claim(redis, sending=Sending.ASKED, first_sent=0) is Answer.GO


@pytest.mark.parametrize(
    ("sending", "answer"),
    [(Sending.FIRST, Answer.GO), (Sending.AGAIN, Answer.FORGOTTEN), (Sending.ASKED, Answer.GO)],
)
def test_redis_was_emptied_since_the_first_sending(redis: redis_client.Redis, sending: Sending, answer: Answer) -> None:
    assert claim(redis) is Answer.GO
    redis.flushall()
    assert claim(redis, sending=sending, first_sent=time.time() - 60) is answer


def test_a_second_sending_goes_where_nothing_was_forgotten_since_the_first(redis: redis_client.Redis) -> None:
    redis.set(EPOCH_KEY, int(time.time()) - 3600)
    started = time.time() - int(redis.info("server")["uptime_in_seconds"])
    assert claim(redis, sending=Sending.AGAIN, first_sent=started - 60) is Answer.FORGOTTEN
    assert claim(redis, sending=Sending.AGAIN, first_sent=started + 60) is Answer.GO


def test_an_id_that_is_sent_again_is_another_run_and_a_redelivery_is_not(redis: redis_client.Redis) -> None:
    claims = RedisClaims(redis.connection_pool)

    def run(received: str, *, goes_on: bool = False) -> str:
        return claims.which_run("theirs", "first", f"repeated-{received}", received, goes_on=goes_on)

    assert run("1.5") == "first"
    assert run("1.5") == "first"
    assert run("3.5", goes_on=True) == "first"
    assert run("2.5") == "repeated-2.5"
    assert run("4.5", goes_on=True) == "repeated-2.5"
