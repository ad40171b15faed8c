"""What a morning report says. It covers the 24 hours until 08:00 of a day in the zone of the setting TIMEZONE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from webapp.database.dialects import seconds_between
from webapp.extensions import db
from webapp.failures import groups, inbox
from webapp.failures.inbox import OPEN, Item
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.run_store.states import ENDED, RunState
from webapp.runs.list.listing import counted_in_states
from webapp.schedules.inquiries import rehearsal
from webapp.schedules.inquiries.rehearsal import RehearsedSchedule
from webapp.schedules.list.listing import Filters
from webapp.web.formats import plural

ENDS_AT = time(8)
SPAN = timedelta(days=1)
# A run that began later than this after its due time was late.
LATE_AFTER = timedelta(minutes=1)
MAX_COUNTED = 100_000
# How many lines a part of the report has.
SHOWN = 20
# Kinds of objects whose changes are in the report.
CHANGED = ("schedule", "pause", "retention")
# How many due runs are looked at for late ones, the newest.
MAX_LOOKED_AT = 20_000
_TOLD = (RunState.FAILED, RunState.MISSED, RunState.UNCONFIRMED, RunState.EXPIRED)


@dataclass(frozen=True, slots=True)
class Silent:
    """Due times of one schedule that did not run, for one reason."""

    schedule_id: int | None
    name: str
    state: str
    reason: str
    count: int
    last: datetime | None


@dataclass(frozen=True, slots=True)
class Late:
    """A run that began later than it was due, by so many seconds."""

    run_id: str
    name: str
    due_at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """The report of a day. `counts` are by state, up to `MAX_COUNTED`.

    `coming` is what is due in the 24 hours after it; None when they are over: what was due then is recorded as runs.
    """

    day: date
    start: datetime
    end: datetime
    counts: Mapping[RunState, int]
    failures: Sequence[Item]
    silent: Sequence[Silent]
    late: Sequence[Late]
    unconfirmed: Sequence[Any]
    changes: Sequence[AuditEntry]
    coming: Sequence[RehearsedSchedule] | None

    @property
    def open_failures(self) -> int:
        """How many kinds of failures are open: neither acknowledged nor resolved."""
        return sum(item.status in OPEN for item in self.failures)

    @property
    def is_calm(self) -> bool:
        """Whether nothing needs anyone."""
        return not (self.open_failures or self.counts[RunState.MISSED] or self.counts[RunState.UNCONFIRMED])

    @property
    def headline(self) -> str:
        """The whole report as one sentence."""
        ran = sum(self.counts[state] for state in (RunState.SUCCEEDED, RunState.FAILED))
        parts = [f"{self.counts[state]:,} {state}" for state in _TOLD if self.counts[state]]
        if self.late:
            parts.append(f"{len(self.late)}{'+' if len(self.late) == SHOWN else ''} late")
        if not parts:
            return f"{plural(ran, 'run')}, all succeeded." if ran else "Nothing ran."
        open_ = f" {plural(self.open_failures, 'kind')} of failure open." if self.open_failures else ""
        return f"{', '.join([plural(ran, 'run') + ' ended', *parts])}.{open_}"


def day_of(now: datetime, zone: ZoneInfo) -> date:
    """The day of the newest report that is whole."""
    local = now.astimezone(zone)
    return local.date() if local.time() >= ENDS_AT else local.date() - SPAN


def period(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """What the report of a day covers, in wall-clock time: a day on which clocks change has 23 or 25 hours."""
    return tuple(datetime.combine(one, ENDS_AT, zone) for one in (day - SPAN, day))  # type: ignore[return-value]


def report(day: date, zone: ZoneInfo, now: datetime) -> Report:
    """The report of a day; of one that is not over, until now."""
    start, end = period(day, zone)
    until = min(end, now)
    within = (Run.created_at > start, Run.created_at <= until)
    counts = counted_in_states(MAX_COUNTED, dict.fromkeys(ENDED, within))
    found = groups.grouped(until - start, until)
    coming = rehearsal.rehearse(Filters(), (end, end + SPAN), zone, now).rehearsed if now < end + SPAN else None
    return Report(
        day=day,
        start=start,
        end=until,
        counts=counts,
        failures=inbox.items(found, now),
        silent=_silent(within),
        late=_late(within),
        unconfirmed=_unconfirmed(within),
        changes=_changes(start, until),
        coming=None if coming is None else sorted(coming, key=lambda one: one.first),
    )


def _silent(within: Sequence[sa.ColumnElement[bool]]) -> list[Silent]:
    reason = sa.func.coalesce(Run.reason, "")
    newest, count = sa.func.max(Run.due_at, type_=Run.due_at.type), sa.func.count()
    query = (
        sa.select(Run.schedule_id, sa.func.max(Run.schedule_name), Run.state, reason, count, newest)
        .where(Run.state.in_((RunState.MISSED, RunState.SKIPPED)), Run.due_at.is_not(None), *within)
        .group_by(Run.schedule_id, Run.state, reason)
        .order_by(Run.state, count.desc(), Run.schedule_id)
        .limit(SHOWN)
    )
    return [Silent(row[0], row[1] or f"#{row[0]}", *row[2:]) for row in db.session.execute(query)]


def _late(within: Sequence[sa.ColumnElement[bool]]) -> list[Late]:
    columns = (Run.id, Run.schedule_name, Run.due_at, Run.started_at)
    newest = sa.select(*columns).where(Run.schedule_id.is_not(None), *within).order_by(Run.created_at.desc())
    due = newest.limit(MAX_LOOKED_AT).subquery()
    seconds = seconds_between(due.c.due_at, due.c.started_at)
    query = sa.select(due.c.id, due.c.schedule_name, due.c.due_at, seconds.label("seconds"))
    late = query.where(due.c.started_at.is_not(None), seconds > LATE_AFTER.total_seconds())
    rows = db.session.execute(late.order_by(seconds.desc()).limit(SHOWN))
    return [Late(row.id, row.schedule_name or "", row.due_at, float(row.seconds)) for row in rows]


def _unconfirmed(within: Sequence[sa.ColumnElement[bool]]) -> list[Any]:
    query = sa.select(Run.id, Run.task, Run.schedule_name, Run.created_at, Run.reason)
    query = query.where(Run.state == RunState.UNCONFIRMED, *within).order_by(Run.created_at.desc()).limit(SHOWN)
    return list(db.session.execute(query))


def _changes(start: datetime, until: datetime) -> list[AuditEntry]:
    query = sa.select(AuditEntry).where(AuditEntry.at > start, AuditEntry.at <= until)
    query = query.where(AuditEntry.object_type.in_(CHANGED)).order_by(AuditEntry.id.desc()).limit(SHOWN)
    return list(db.session.scalars(query))
