"""Birthday mails: to whom they go on a day, and sending them."""

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

# People in one transaction, which stays short enough not to delay others.
BATCH_SIZE = 200


def send_birthday_mails(at: datetime, run_id: str | None = None) -> int:
    """Send a mail to everyone whose birthday is today in the configured zone; gives how many mails were added.

    Each mail has the key `birthday:USER:YEAR`, so that a second call on the same day, parallel or after a crash, only
    adds those that are missing. `run_id` is the run that calls this, the parent of the mails' runs.
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
    """The birthdays (month * 100 + day) celebrated on a day. In years without a 29 February, that one is moved."""
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
        .limit(BATCH_SIZE)
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
