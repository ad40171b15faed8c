"""Whose birthday it is, in which time zone, and that no person is greeted twice."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support import add_person
from webapp.extensions import db
from webapp.mail_store.models import Mail
from webapp.people import birthdays
from webapp.people.birthdays import birthday_keys, send_birthday_mails
from webapp.run_store.models import Run

pytestmark = pytest.mark.each_database

KATHMANDU = ZoneInfo("Asia/Kathmandu")
EIGHT = datetime(2026, 11, 23, 8, 0, tzinfo=KATHMANDU)


def keys() -> list[str]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Mail.key).order_by(Mail.id)))


def test_everyone_born_on_this_day_gets_one_mail_by_a_run_of_its_own(context: Flask) -> None:
    first = add_person("a@example.com", birthday=date(1990, 11, 23))
    second = add_person("b@example.com", birthday=date(2001, 11, 23))
    add_person("c@example.com", birthday=date(1990, 11, 22))
    add_person("d@example.com")
    assert send_birthday_mails(EIGHT, "the-run") == 2
    assert keys() == [f"birthday:{first.id}:2026", f"birthday:{second.id}:2026"]
    runs = db.session.scalars(sa.select(Run)).all()
    assert {(run.task, run.parent_id) for run in runs} == {("mail.send_mail", "the-run")}
    assert len(runs) == 2


def test_second_time_on_the_same_day_greets_no_person(context: Flask) -> None:
    add_person("a@example.com", birthday=date(1990, 11, 23))
    assert send_birthday_mails(EIGHT) == 1
    assert send_birthday_mails(EIGHT) == 0
    assert len(keys()) == 1


def test_person_left_out_is_greeted_the_second_time(context: Flask) -> None:
    add_person("a@example.com", birthday=date(1990, 11, 23))
    assert send_birthday_mails(EIGHT) == 1
    add_person("b@example.com", birthday=date(1990, 11, 23))
    assert send_birthday_mails(EIGHT) == 1
    assert len(keys()) == 2


def test_the_day_is_that_of_the_configured_zone(context: Flask) -> None:
    add_person("a@example.com", birthday=date(1990, 11, 23))
    still_the_22nd_in_utc = datetime(2026, 11, 22, 18, 30, tzinfo=UTC)
    assert still_the_22nd_in_utc.astimezone(KATHMANDU).date() == date(2026, 11, 23)
    assert send_birthday_mails(still_the_22nd_in_utc) == 1


def test_who_wants_none_or_is_disabled_or_not_born_yet_gets_none(context: Flask) -> None:
    add_person("a@example.com", birthday=date(1990, 11, 23), wants_birthday_mail=False)
    add_person("b@example.com", birthday=date(1990, 11, 23), active=False)
    add_person("c@example.com", birthday=date(2027, 11, 23))
    assert send_birthday_mails(EIGHT) == 0


@pytest.mark.parametrize(
    ("today", "setting", "expected"),
    [
        (date(2027, 2, 28), "02-28", [228, 229]),
        (date(2028, 2, 28), "02-28", [228]),
        (date(2028, 2, 29), "02-28", [229]),
        (date(2027, 3, 1), "02-28", [301]),
        (date(2027, 3, 1), "03-01", [301, 229]),
        (date(2027, 2, 28), "03-01", [228]),
        (date(2100, 2, 28), "02-28", [228, 229]),
    ],
)
def test_29_february_moves_in_years_without_it(today: date, setting: str, expected: list[int]) -> None:
    assert birthday_keys(today, setting) == expected


def test_many_people_are_greeted_in_several_transactions(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birthdays, "BATCH_SIZE", 2)
    for number in range(5):
        add_person(f"{number}@example.com", birthday=date(1990, 11, 23))
    assert send_birthday_mails(EIGHT) == 5
    assert len(keys()) == 5
