from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest
import redis as redis_client
from flask import Flask

from tests.visitors import PASSWORD, Visitor, add_user
from webapp import create_app
from webapp.config import Settings
from webapp.identity.limits import FAILURES_OVERALL

WRONG = "wrong password here"
LIMIT = 10


def fail(app: Flask, times: int, *, email: str = "maya@example.com", address: str | None = None) -> list[int]:
    """So many wrong passwords, from one address or each from another; returns the answers' statuses."""
    return [
        Visitor(app, address=address or f"198.51.100.{number}").sign_in(email, WRONG).status_code
        for number in range(times)
    ]


def test_ten_failures_close_an_account_for_strangers(app: Flask) -> None:
    add_user(app)
    assert fail(app, LIMIT + 2) == [401] * LIMIT + [429] * 2
    answer = Visitor(app, address="192.0.2.1").sign_in()
    assert answer.status_code == 429
    assert "Wait five minutes" in answer.text
    assert 0 < int(answer.headers["Retry-After"]) <= 300


def test_an_unknown_account_is_closed_alike(app: Flask) -> None:
    assert fail(app, LIMIT + 1, email="nobody@example.com") == [401] * LIMIT + [429]


def test_ten_failures_close_an_address_for_every_account(app: Flask) -> None:
    add_user(app)
    statuses = [
        Visitor(app, address="198.51.100.7").sign_in(f"guess{number}@example.com", WRONG).status_code
        for number in range(LIMIT + 1)
    ]
    assert statuses == [401] * LIMIT + [429]
    assert Visitor(app, address="198.51.100.7").sign_in().status_code == 429
    assert Visitor(app, address="198.51.100.8").sign_in().status_code == 303


def test_one_subscriber_of_ipv6_is_one_address(app: Flask) -> None:
    statuses = [
        Visitor(app, address=f"2001:db8:1:2::{number:x}").sign_in(f"guess{number}@example.com", WRONG).status_code
        for number in range(LIMIT + 1)
    ]
    assert statuses[-1] == 429


def test_the_owner_still_gets_in_where_they_signed_in_before(app: Flask) -> None:
    add_user(app)
    owner = Visitor(app, address="192.0.2.1")
    owner.sign_in()
    owner.post("/logout", page="/account")
    assert fail(app, LIMIT + 1)[-1] == 429
    assert owner.sign_in().status_code == 303


def test_a_known_browser_has_ten_failures_too(app: Flask) -> None:
    add_user(app)
    owner = Visitor(app)
    owner.sign_in()
    owner.post("/logout", page="/account")
    statuses = [owner.sign_in(password=WRONG).status_code for _ in range(LIMIT + 1)]
    assert statuses == [401] * LIMIT + [429]


def test_the_device_cookie_of_one_account_opens_no_other(app: Flask) -> None:
    add_user(app)
    add_user(app, "other@example.com")
    attacker = Visitor(app, address="192.0.2.66")
    attacker.sign_in("other@example.com")
    attacker.post("/logout", page="/account")
    statuses = [attacker.sign_in(password=WRONG).status_code for _ in range(LIMIT + 1)]
    assert statuses == [401] * LIMIT + [429]


def test_refused_attempts_do_not_prolong_the_wait(app: Flask, redis: redis_client.Redis) -> None:
    add_user(app)
    fail(app, LIMIT + 5)
    counted = [redis.llen(key) for key in redis.scan_iter("beatdesk:limits*wrong-password*")]
    assert sorted(counted) == [1] * LIMIT + [LIMIT, LIMIT]  # by address; by account and overall


def test_successes_are_not_counted(app: Flask) -> None:
    add_user(app)
    assert {Visitor(app).sign_in().status_code for _ in range(LIMIT + 2)} == {303}


def test_json_is_counted_with_forms(app: Flask) -> None:
    add_user(app)
    fail(app, LIMIT - 1)
    browser = Visitor(app, address="192.0.2.1")
    fields = {"email": "MAYA@example.com", "password": WRONG}
    assert browser.post_json("/login", fields).status_code == 401
    answer = browser.post_json("/login", fields)
    assert answer.json is not None
    assert (answer.status_code, "error" in answer.json) == (429, True)


def test_attempts_are_limited_overall_too(app: Flask, redis: redis_client.Redis) -> None:
    add_user(app)
    browser = Visitor(app, address="192.0.2.1")
    browser.sign_in(password=WRONG)
    key = next(iter(redis.scan_iter("beatdesk:limits*everybody*")))
    redis.lpush(key, *[str(time.time())] * 1000)
    assert FAILURES_OVERALL.amount == 1000
    assert Visitor(app, address="192.0.2.2").sign_in().status_code == 429


def test_guessing_the_current_password_in_a_stolen_session_is_limited(app: Flask) -> None:
    add_user(app)
    browser = Visitor(app)
    browser.sign_in()
    guess = {"password": WRONG, "new_password": "eleven silent bicycles"}
    statuses = [browser.post("/account/password", guess, page="/account").status_code for _ in range(LIMIT + 1)]
    assert statuses == [401] * LIMIT + [429]


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[Flask]:
    from webapp.extensions import db, limiter

    gone = "redis://127.0.0.1:1/0"
    app = create_app(dataclasses.replace(settings, redis_url=gone, broker_url=gone, result_backend=gone))
    yield app
    with app.app_context():
        db.engine.dispose()
    # The limiter is one for the process; the next test's Redis is there.
    limiter._storage_dead = False


def test_without_redis_this_process_counts(without_redis: Flask) -> None:
    add_user(without_redis)
    assert fail(without_redis, LIMIT + 1) == [401] * LIMIT + [429]
    assert Visitor(without_redis, address="192.0.2.1").sign_in("other@example.com").status_code == 401


def test_without_redis_people_sign_in_quickly(without_redis: Flask) -> None:
    add_user(without_redis)
    began = time.monotonic()
    assert Visitor(without_redis).sign_in().status_code == 303
    assert time.monotonic() - began < 5


def test_password_is_never_in_the_limits(app: Flask, redis: redis_client.Redis) -> None:
    add_user(app)
    fail(app, 1)
    keys = " ".join(redis.scan_iter("*"))
    assert "wrong-password" in keys
    assert "maya" not in keys
    assert PASSWORD not in keys
