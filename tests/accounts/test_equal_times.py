"""Nobody learns from the clock whether an address is registered. With the cost and the settings of production."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from tests.accounts.browser import Browser, add_user
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db, limiter

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


def medians(rounds: int, known: Callable[[int], object], unknown: Callable[[int], object]) -> tuple[float, float]:
    """How long each takes, in turns, so that a busy machine slows both."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for call, seconds in zip((known, unknown), taken, strict=True):
            began = time.perf_counter()
            call(number)
            seconds.append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


def assert_equal(rounds: int, known: Callable[[int], object], unknown: Callable[[int], object]) -> None:
    """A machine that does other things disturbs a measurement; a real difference shows in each of them."""
    seen = []
    for _ in range(4):
        first, second = medians(rounds, known, unknown)
        assert first > 0.01, "no password was hashed"
        if abs(first - second) < CLOSE:
            return
        seen.append((first, second))
    raise AssertionError(f"the answers differ: {seen}")


def test_signing_in(production: Flask) -> None:
    add_user(production)
    browser = Browser(production)
    token = browser.token()

    def attempt(email: str) -> None:
        data = {"csrf_token": token, "email": email, "password": "wrong password here"}
        assert browser.client.post("/login", data=data).status_code == 401

    assert_equal(15, lambda _: attempt("maya@example.com"), lambda _: attempt("nobody@example.com"))


def test_registering(production: Flask) -> None:
    add_user(production)
    browser = Browser(production)
    token = browser.token()

    def attempt(email: str) -> None:
        data = {"name": "Maya", "email": email, "birthday": "1990-01-01", "timezone": "UTC", "csrf_token": token}
        answer = browser.client.post("/register", data={**data, "password": "seven quiet umbrellas"})
        assert answer.status_code == 303

    fresh = itertools.count()
    assert_equal(5, lambda _: attempt("maya@example.com"), lambda _: attempt(f"new{next(fresh)}@example.com"))


def test_asking_for_a_new_password(production: Flask) -> None:
    add_user(production)
    browser = Browser(production)
    token = browser.token()

    def attempt(email: str) -> None:
        assert browser.client.post("/reset", data={"csrf_token": token, "email": email}).status_code == 303

    assert_equal(5, lambda _: attempt("maya@example.com"), lambda _: attempt("nobody@example.com"))
