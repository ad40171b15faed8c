"""Whose birthday it is, and their mail."""

from __future__ import annotations

from calendar import isleap
from datetime import date, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from webapp.config import Settings
from webapp.extensions import db
from webapp.identity.models import User
from webapp.mail_store.outbox import enqueue
from webapp.run_store.models import Run
from webapp.runs.service import send_runs
from webapp.web.hosts import current_settings

# So many people a transaction: one is short enough not to hold up others.
BATCH = 200


def send_birthday_mails(at: datetime, run_id: str | None = None) -> int:
    """Send a mail to everyone whose birthday is today in the configured zone; gives how many were newly greeted.

    Each greeting has the key `birthday:USER:YEAR`, so that a second call on the same day, at the same time or after a
    crash, greets only who was left out. `run_id` is the run that does this; the mails' runs name it as their parent.
    """
    settings = current_settings()
    today = at.astimezone(ZoneInfo(settings.timezone)).date()
    greeted = 0
    last = 0
    while people := _celebrating(today, settings, after=last):
        last = people[-1].id
        runs = _greet(people, today, run_id)
        db.session.commit()
        send_runs(runs)
        greeted += len(runs)
    return greeted


def birthday_keys(today: date, leap_day_birthday: str) -> list[int]:
    """Which birthdays (month * 100 + day) are celebrated on a day; 29 February moves in years that have none."""
    keys = [today.month * 100 + today.day]
    if not isleap(today.year) and f"{today:%m-%d}" == leap_day_birthday:
        keys.append(229)
    return keys


def _celebrating(today: date, settings: Settings, *, after: int) -> list[User]:
    query = (
        sa.select(User)
        .where(
            User.birthday_key.in_(birthday_keys(today, settings.leap_day_birthday)),
            User.birthday <= today,
            User.active.is_(True),
            User.wants_birthday_mail.is_(True),
            User.id > after,
        )
        .order_by(User.id)
        .limit(BATCH)
    )
    if settings.confirm_addresses:
        query = query.where(User.confirmed_at.is_not(None))
    return list(db.session.scalars(query))


def _greet(people: list[User], today: date, run_id: str | None) -> list[Run]:
    runs = []
    for person in people:
        key = f"birthday:{person.id}:{today.year}"
        if added := enqueue(db.session, key=key, kind="birthday", user=person, parent_id=run_id):
            runs.append(added[1])
    return runs
