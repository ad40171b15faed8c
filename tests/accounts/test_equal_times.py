"""Response times do not reveal whether an address is registered. With the cost and the settings of production."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from tests.visitors import Visitor, add_user
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db, limiter

Clock = Callable[[], float]
Call = Callable[[int], object]

CLOSE = 0.005  # seconds


@pytest.fixture
def production(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings.with_changes(testing=False))
    limiter.enabled = False
    yield app
    limiter.enabled = True
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def apart(clock: Clock, rounds: int, known: Call, unknown: Call) -> float:
    """The seconds that the known one takes longer: the median of pairs. Each is first in half of them."""
    differences = []
    for number in range(rounds):
        pair = ((known, 1), (unknown, -1)) if number % 2 else ((unknown, -1), (known, 1))
        times = [(sign, _taken(clock, call, number)) for call, sign in pair]
        assert min(taken for _, taken in times) > 0.01, "no password was hashed"
        differences.append(sum(sign * taken for sign, taken in times))
    return statistics.median(differences)


def _taken(clock: Clock, call: Call, number: int) -> float:
    began = clock()
    call(number)
    return clock() - began


def assert_equal(clock: Clock, rounds: int, known: Call, unknown: Call) -> None:
    """A machine that does other things disturbs a measurement; a real difference shows in each of them."""
    seen = []
    for _ in range(4):
        seen.append(apart(clock, rounds, known, unknown))
        if abs(seen[-1]) < CLOSE:
            return
    raise AssertionError(f"the answers differ: {seen}")


def test_signing_in(production: Flask) -> None:
    add_user(production)
    browser = Visitor(production)
    token = browser.form_token()

    def attempt(email: str) -> None:
        data = {"csrf_token": token, "email": email, "password": "wrong password here"}
        assert browser.client.post("/login", data=data).status_code == 401

    # On a busy machine, elapsed time depends on other processes.
    assert_equal(time.process_time, 15, lambda _: attempt("maya@example.com"), lambda _: attempt("nobody@example.com"))


def test_registering(production: Flask) -> None:
    add_user(production)
    browser = Visitor(production)
    token = browser.form_token()

    def attempt(email: str) -> None:
        data = {"name": "Maya", "email": email, "birthday": "1990-01-01", "timezone": "UTC", "csrf_token": token}
        answer = browser.client.post("/register", data={**data, "password": "seven quiet umbrellas"})
        assert answer.status_code == 303

    fresh = itertools.count()
    assert_equal(
        time.perf_counter, 5, lambda _: attempt("maya@example.com"), lambda _: attempt(f"new{next(fresh)}@example.com")
    )


def test_asking_for_a_new_password(production: Flask) -> None:
    add_user(production)
    browser = Visitor(production)
    token = browser.form_token()

    def attempt(email: str) -> None:
        assert browser.client.post("/reset", data={"csrf_token": token, "email": email}).status_code == 303

    assert_equal(time.perf_counter, 5, lambda _: attempt("maya@example.com"), lambda _: attempt("nobody@example.com"))
