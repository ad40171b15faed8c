"""Registration is no relay: the content of emails, and which addresses get more than the first one."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from tests.people.test_registering import FIELDS
from tests.support import reading
from tests.visitors import Visitor, add_user, all_rows
from webapp.config import Settings
from webapp.extensions import db
from webapp.identity.models import AuditEntry, User
from webapp.mail.service import _private_values, compose
from webapp.mail_store.models import Mail
from webapp.people.birthdays import send_birthday_mails


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_changes(confirm_addresses=True)


def sent(app: Flask, kind: str = "welcome") -> tuple[str, str, str, str]:
    """The newest mail of a kind as it is sent: name in To, subject, text, HTML."""
    with app.app_context(), reading():
        mail = db.session.scalars(sa.select(Mail).where(Mail.kind == kind).order_by(Mail.id.desc())).first()
        assert mail is not None
        made = compose(mail, _private_values(mail))
        return made.recipient_name, made.subject, made.text, made.html


def link(app: Flask, kind: str = "welcome") -> str:
    found = re.search(r"http://127\.0\.0\.1:5000(/confirm/\S+)", sent(app, kind)[2])
    assert found
    return found[1]


def register(app: Flask, **fields: str) -> None:
    assert Visitor(app).post("/register", {**FIELDS, **fields}, page="/register").status_code == 303


def confirmed(app: Flask) -> bool:
    return all_rows(app, User)[-1].confirmed_at is not None


@pytest.mark.parametrize(
    "name",
    [
        "Win $$$ at http://evil.example",
        "WIN 1000 EUR at evil.example",
        "Visit evil.example now",
        "Visit evil．example now",
        "evil\u2024example/win",
        "www evil example",
        "//evil.example",
        "Call +49 170 1234567",
        "Write to spam@evil.example",
        "<b>Buy</b> now",
        "[Click](http://evil.example)",
        "You won!!! 🎉🎉🎉",
        "\u200bClick\u2060buttons",
    ],
)
def test_what_is_no_name_is_greeted_without_one(app: Flask, name: str) -> None:
    register(app, name=name)
    to, subject, text, html = sent(app)
    assert (to, subject) == ("", "Welcome to Beatdesk")
    assert text.startswith("Hello,\n")
    assert "Welcome!" in html
    for part in set(re.findall(r"\w{4,}", name)) - {"http"}:
        assert part not in text
        assert part not in html


@pytest.mark.parametrize(
    ("name", "greeted"),
    [
        ("Maya Gurung", "Maya Gurung"),
        ("Dr. Anne-Marie O’Neill, Jr.", "Dr. Anne-Marie O’Neill, Jr."),
        ("शान्ति गुरुङ", "शान्ति गुरुङ"),
        ("李明", "李明"),
        ("José María", "José María"),
        ("María del Carmen Fernández de la Vega Sanz", "María del Carmen Fernández de la Vega"),
        ("x" * 100, "x" * 40),
    ],
)
def test_a_name_is_greeted_by_at_most_40_letters(app: Flask, name: str, greeted: str) -> None:
    register(app, name=name)
    to, subject, text, _ = sent(app)
    assert (to, subject) == (greeted, "Welcome to Beatdesk")
    assert text.startswith(f"Hello {greeted},\n")


def test_link_confirms_once_and_reports_it_each_time(app: Flask) -> None:
    register(app)
    path = link(app)
    assert not confirmed(app)
    browser = Visitor(app)
    assert browser.client.head(path).status_code == 200
    assert not confirmed(app)
    for _ in range(2):
        answer = browser.get(path)
        assert (answer.status_code, "Your address is confirmed" in answer.text) == (200, True)
    assert confirmed(app)
    assert [row.action for row in all_rows(app, AuditEntry)] == ["person.register", "account.confirm_address"]


@pytest.mark.parametrize("token", ["x", "WzEsImEiXQ.x.y", "a.b.c", "%00", "\u00e9"])
def test_an_invented_link_offers_a_new_one(app: Flask, token: str) -> None:
    answer = Visitor(app).get(f"/confirm/{token}")
    assert answer.status_code == 404
    assert 'action="/confirm"' in answer.text


def test_an_old_link_offers_a_new_one_that_works(app: Flask) -> None:
    register(app)
    with time_machine.travel(datetime.now(UTC) - timedelta(days=7, minutes=1), tick=True):
        old = link(app)
    answer = Visitor(app).get(old)
    assert (answer.status_code, confirmed(app)) == (404, False)
    assert "no longer valid" in answer.text
    assert Visitor(app).post("/confirm", {"email": "maya@example.com"}).location == "/confirm/sent"
    assert Visitor(app).get(link(app, "confirm_address")).status_code == 200
    assert confirmed(app)
    # What is confirmed stays so, by whatever link.
    assert Visitor(app).get(old).status_code == 200


def test_link_request_reveals_nothing_and_is_limited(app: Flask) -> None:
    register(app)
    add_user(app, "done@example.com", confirmed_at=datetime.now(UTC))
    known = ["maya@example.com", "done@example.com", "nobody@example.com", "x", ""]
    answers = [Visitor(app).post("/confirm", {"email": email}) for email in known * 3]
    assert [answer.status_code for answer in answers] == [303] * 10 + [429] * 5
    assert {answer.location for answer in answers[:10]} == {"/confirm/sent"}
    assert [(mail.kind, mail.recipient) for mail in all_rows(app, Mail)] == [
        ("welcome", "maya@example.com"),
        ("confirm_address", "maya@example.com"),
    ]


def test_birthday_mails_go_to_confirmed_addresses_only(app: Flask) -> None:
    register(app)
    add_user(app, "old@example.com", birthday=date(1990, 2, 28), birthday_key=228, confirmed_at=datetime.now(UTC))
    day = datetime(2027, 2, 28, 12, tzinfo=UTC)

    def greeted() -> int:
        with app.app_context():
            return send_birthday_mails(day)

    assert greeted() == 1
    Visitor(app).get(link(app))
    assert greeted() == 1
    assert sent(app, "birthday")[1] == "Happy birthday!"


def test_who_is_added_by_an_admin_or_came_by_another_link_is_confirmed(app: Flask) -> None:
    add_user(app, "ada@example.com", "admin")
    admin = Visitor(app)
    admin.sign_in("ada@example.com")
    admin.post("/register", FIELDS, page="/register")
    assert confirmed(app)
    app.test_cli_runner().invoke(args=["users", "create", "--email", "cli@example.com", "--name", "Cli"])
    assert confirmed(app)


def test_it_is_on_where_a_mail_server_is_set() -> None:
    given = {"SECRET_KEY": "x" * 20}
    assert Settings.from_env(given).confirm_addresses is False
    assert Settings.from_env({**given, "MAIL_SERVER": "smtp.example.com"}).confirm_addresses is True
    off = {"MAIL_SERVER": "smtp.example.com", "CONFIRM_ADDRESSES": "0"}
    assert Settings.from_env({**given, **off}).confirm_addresses is False
    assert Settings.from_env({**given, "CONFIRM_ADDRESSES": "1"}).confirm_addresses is True
