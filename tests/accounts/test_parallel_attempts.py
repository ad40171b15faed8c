"""Parallel attempts are limited like attempts one after the other."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support import reading
from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp import create_app
from webapp.accounts import passwords
from webapp.config import Settings
from webapp.extensions import db, limiter
from webapp.identity import limits
from webapp.identity.models import User
from webapp.mail_store.models import Mail

WRONG = "wrong password here"
NEW = "eleven silent bicycles"
LIMIT = 10
MANY = 120


def at_once(send: Callable[[int], int], count: int = MANY) -> Counter[int]:
    """The count of each status, of so many requests by sixteen threads that start together."""
    start = threading.Barrier(16)
    shares = [range(first, count, 16) for first in range(16)]

    def several(numbers: range) -> list[int]:
        start.wait()
        return [send(number) for number in numbers]

    with ThreadPoolExecutor(16) as pool:
        return Counter(status for answers in pool.map(several, shares) for status in answers)


def sender(app: Flask, path: str, *, browser: Visitor | None = None) -> Callable[[dict[str, str], str], int]:
    """Sends a form with the cookies and the token of one browser, from any address; returns the status."""
    browser = browser or Visitor(app)
    token = browser.form_token("/account" if path.startswith("/account") else "/login")
    cookie = browser.cookie()

    def send(fields: dict[str, str], address: str) -> int:
        client = app.test_client(use_cookies=False)
        headers = {"Cookie": f"beatdesk={cookie}"}
        base = {"REMOTE_ADDR": address}
        return client.post(path, data={"csrf_token": token, **fields}, headers=headers, environ_base=base).status_code

    return send


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each password that was compared with a stored one."""
    seen: list[object] = []
    really = passwords.matches

    def noted(user: User | None, password: object) -> bool:
        seen.append(password)
        return really(user, password)

    monkeypatch.setattr(passwords, "matches", noted)
    return seen


def somewhere(number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}"


@pytest.mark.parametrize("spread", ["one address", "many addresses"])
def test_signing_in(app: Flask, checks: list[object], spread: str) -> None:
    add_user(app)
    send = sender(app, "/login")

    def attempt(number: int) -> int:
        # Spread over addresses, the account is what limits; from one address, it limits over accounts.
        if spread == "one address":
            return send({"email": f"guess{number}@example.com", "password": WRONG}, "198.51.100.7")
        return send({"email": "maya@example.com", "password": WRONG}, somewhere(number))

    assert at_once(attempt, 500) == {401: LIMIT, 429: 500 - LIMIT}
    assert len(checks) == LIMIT


def test_changing_a_password_whatever_field_is_sent(app: Flask, checks: list[object]) -> None:
    add_user(app)
    browser = Visitor(app)
    browser.sign_in()
    checks.clear()
    send = sender(app, "/account/password", browser=browser)

    def attempt(number: int) -> int:
        fields = {"email": f"x{number}@example.com", "username": f"x{number}@example.com", "user_id": str(number)}
        return send({"password": WRONG, "new_password": NEW, **fields}, somewhere(number))

    assert at_once(attempt) == {401: LIMIT, 429: MANY - LIMIT}
    assert len(checks) == LIMIT


@pytest.mark.parametrize("spread", ["one address", "many addresses"])
def test_asking_for_links(app: Flask, spread: str) -> None:
    add_user(app)
    send = sender(app, "/reset")
    many = spread == "many addresses"
    statuses = at_once(
        lambda number: send({"email": "maya@example.com"}, somewhere(number) if many else "198.51.100.7")
    )
    assert statuses == ({303: MANY} if many else {303: LIMIT, 429: MANY - LIMIT})
    # One asker gets one link in each five minutes of the clock, which may end meanwhile.
    assert len(all_rows(app, Mail)) in ((limits.MAILS_TO_ACCOUNT.amount,) if many else (1, 2))


@pytest.mark.parametrize(
    ("spread", "allowed"),
    [
        ("address", limits.REGISTRATIONS.amount),
        ("domain", limits.REGISTRATIONS_AT_DOMAIN.amount),
    ],
)
def test_registering(app: Flask, spread: str, allowed: int) -> None:
    send = sender(app, "/register")
    fields = {"name": "Maya", "password": PASSWORD, "birthday": "1990-02-28", "timezone": "UTC"}

    def attempt(number: int) -> int:
        if spread == "address":
            return send({**fields, "email": f"new@d{number}.example"}, f"2001:db8:1:2::{number:x}")
        return send({**fields, "email": f"new{number}@sub{number}.victim.example"}, somewhere(number))

    count = 130
    assert at_once(attempt, count) == {303: allowed, 429: count - allowed}
    assert len(all_rows(app, Mail)) == len(all_rows(app, User)) == allowed


@pytest.fixture
def without_redis(settings: Settings) -> Iterator[Flask]:
    gone = "redis://127.0.0.1:1/0"
    app = create_app(settings.with_changes(redis_url=gone, broker_url=gone, result_backend=gone))
    yield app
    with app.app_context():
        db.engine.dispose()
    # The limiter is one for the process; the next test's Redis is there.
    limiter._storage_dead = False


def test_without_redis(without_redis: Flask, checks: list[object]) -> None:
    add_user(without_redis)
    send = sender(without_redis, "/login")
    statuses = at_once(lambda n: send({"email": "maya@example.com", "password": WRONG}, somewhere(n)), 100)
    assert statuses == {401: LIMIT, 429: 90}
    assert len(checks) == LIMIT


def test_what_succeeds_is_not_counted(app: Flask) -> None:
    add_user(app)
    assert {Visitor(app).sign_in().status_code for _ in range(LIMIT + 1)} == {303}
    browser = Visitor(app)
    browser.sign_in()
    given = {"password": PASSWORD, "new_password": "short"}
    statuses = [browser.post("/account/password", given, page="/account").status_code for _ in range(LIMIT + 2)]
    assert statuses == [422] * (LIMIT + 2)


def test_an_owner_on_a_new_device_gets_in_by_a_link(app: Flask) -> None:
    add_user(app)
    for number in range(30):
        Visitor(app, address=somewhere(number)).sign_in(password=WRONG)
        Visitor(app, address=somewhere(number)).post("/reset", {"email": "maya@example.com"})
    owner = Visitor(app, address="192.0.2.1")
    refused = owner.sign_in()
    assert refused.status_code == 429
    assert "Forgot your password?" in refused.text
    assert owner.post("/reset", {"email": "maya@example.com"}).status_code == 303
    path = newest_link(app)
    assert owner.post(path, {"password": NEW}, page=path).status_code == 303
    assert owner.sign_in(password=NEW).status_code == 303


def test_a_few_strangers_leave_the_owner_a_mail_of_their_own(app: Flask) -> None:
    add_user(app)
    for number in range(limits.MAILS_TO_ACCOUNT.amount - 1):
        for _ in range(3):
            Visitor(app, address=somewhere(number)).post("/reset", {"email": "maya@example.com"})
    before = len(all_rows(app, Mail))
    Visitor(app, address="192.0.2.1").post("/reset", {"email": "maya@example.com"})
    assert len(all_rows(app, Mail)) == before + 1


def newest_link(app: Flask) -> str:
    """The path in the newest mail, as it is sent."""
    from webapp.mail.service import _private_values

    with app.app_context(), reading():
        mail = db.session.scalars(sa.select(Mail).order_by(Mail.id.desc())).first()
        assert mail is not None
        return next(iter(_private_values(mail).values())).removeprefix("http://127.0.0.1:5000")


@pytest.mark.parametrize(
    ("email", "domain"),
    [
        ("a@mail.example.com", "example.com"),
        ("a@x.abc.com", "abc.com"),
        ("a@mail.example.co.uk", "example.co.uk"),
        ("a@example.com.np", "example.com.np"),
        ("a@abc.de", "abc.de"),
    ],
)
def test_subdomains_count_with_the_registered_domain(email: str, domain: str) -> None:
    assert limits._receiving_domain(email) == domain
