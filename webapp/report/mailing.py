"""The morning report by email, to those who want it and may see runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from webapp.extensions import db
from webapp.failures.inbox import OPEN
from webapp.identity.models import AuditEntry, User
from webapp.mail_store.outbox import enqueue
from webapp.report import morning
from webapp.report.morning import Report
from webapp.runs.service import send_runs
from webapp.web.access import Permission, has
from webapp.web.formats import duration, plural
from webapp.web.hosts import current_settings

# Lines of a list in the mail; the page has the rest.
SHOWN = 5


def send_reports(now: datetime, run_id: str | None = None) -> int:
    """Send the newest report to everyone who wants it; gives how many mails were added.

    Each mail has the key `report:USER:DAY`, so that a second call on the same day only adds those that are missing.
    """
    zone = ZoneInfo(current_settings().timezone)
    readers = [
        person
        for person in db.session.scalars(sa.select(User).where(User.wants_report_mail, User.active).order_by(User.id))
        if has(person, Permission.VIEW_RUNS)
    ]
    if not readers:
        return 0
    found = morning.report(morning.day_of(now, zone), zone, now)
    day, context = found.day.isoformat(), _context(found)
    keyed = ((person, f"report:{person.id}:{day}") for person in readers)
    added = [
        enqueue(db.session, key=key, kind="report", user=person, context=context, parent_id=run_id)
        for person, key in keyed
    ]
    runs = [made[1] for made in added if made is not None]
    db.session.commit()
    send_runs(runs)
    return len(runs)


def _context(found: Report) -> dict[str, Any]:
    open_ = [item for item in found.failures if item.status in OPEN]
    return {
        "day": found.day.isoformat(),
        "headline": found.headline,
        "lines": [
            *(
                f"{item.group.example[:160]} ({item.group.kind.task}, {plural(len(item.group.runs), 'run')})"
                for item in open_[:SHOWN]
            ),
            *(
                f"{one.name}: {one.count:,} {one.state}" + (f", {one.reason}" if one.reason else "")
                for one in found.silent[:SHOWN]
            ),
            *(f"{one.name}: late by {duration(one.seconds)}" for one in found.late[:SHOWN]),
        ],
        "changes": [_change(entry) for entry in found.changes[:SHOWN]],
        "coming": plural(sum(one.fires for one in found.coming or ()), "run"),
    }


def _change(entry: AuditEntry) -> str:
    """As "Maya Gurung: update schedule Nightly report"."""
    verb = entry.action.partition(".")[2].replace("_", " ")
    return f"{entry.actor}: {verb} {entry.object_type} {entry.object_name}".strip()
