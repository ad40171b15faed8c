"""The one writer of schedules: the rows, their versions, the audit, what an edit withdraws, and beat's wake-up.

Only what beat itself keeps of a schedule is written elsewhere (`webapp.scheduler.progress`): how far it has come, the
library's own counts, and that nothing more of it comes due. That is no edit: it has no version and no row in the audit.
The database's triggers give the revision, at each write by any program.

A rule row (celery_intervalschedule and its like) belongs to one schedule where the library allows it. It is never
changed: a schedule whose rule is edited gets another row, so that a row which another program has two schedules
share stays as it is for the other one; a row that no schedule uses any more is deleted. A place of the sun can be there
only once in the library's table, so those rows are shared, and found or made under a lock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTaskChanged

from webapp.database.dialects import lock
from webapp.database.moments import utc
from webapp.identity import audit
from webapp.identity.models import AuditEntry
from webapp.messaging import beat_wakeup, broker
from webapp.recurrence import Crontab, OneTime, Rule
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store import pause_rows
from webapp.schedule_store.definition import Definition, Kind, iso, next_anchor, rule_values
from webapp.schedule_store.models import Owner, Resume, ScheduleVersion
from webapp.schedule_store.rows import DETAILS, DISCRIMINATORS, KINDS, RULE_TABLES, TASKS, latest_revision
from webapp.schedule_store.secret_arguments import sealed
from webapp.schedule_store.stored import AnySession, Stored, find_many

Values = Mapping[str, Any]

# Any number that nothing else locks by.
_SOLAR_LOCK = 0x5EED_501A


class Writer:
    """Writes schedules in a session's transaction; `commit` ends it, for whose transaction that is.

    `author` is named in the versions; `actor` in the audit, for a process of ours: without one it is who is signed in.
    `written` has what was written by numbers, as it is read back, each with the skips that were withdrawn.
    """

    def __init__(self, session: AnySession, author: str, now: datetime, actor: str | None = None) -> None:
        self.session, self.author, self.now = session, author, now
        self._acting = audit.acting() if actor is None else {"actor": actor}
        self.written: dict[int, Stored] = {}
        self._withdrawn: list[str] = []
        self._shared: dict[tuple[Any, ...], int] = {}

    def commit(self) -> list[Stored]:
        """Commit, wake beat and announce withdrawn skips to pages; gives what was written, in that order."""
        revision = latest_revision(self.session.connection())
        self.session.commit()
        broker.try_redis(lambda redis: beat_wakeup.wake(redis, str(revision)))
        sending.tell_pages(self._withdrawn)
        return list(self.written.values())

    def create(self, definition: Definition, action: str = "create", *, anchor: datetime | None = None) -> None:
        """Add a schedule as its version 1. Raises IntegrityError when the name is taken.

        `anchor` is where the grid of its interval begins, if not one step before now.
        """
        tasks = _task_values(definition) | self._rule(definition) | {"headers": "{}", "total_run_count": 0}
        anchor = anchor or next_anchor(definition.rule, self.now)
        self.insert({definition.name: (tasks, _detail_values(definition) | {"anchor": anchor})}, action)

    def insert(self, rows: Mapping[str, tuple[Values, Values]], action: str) -> None:
        """Add schedules by their names: columns of the library's row and of the details, the same ones of each."""
        if not rows:
            return
        tasks = [{**task, "name": name} for name, (task, _details) in rows.items()]
        # Core and not the library's models: those refuse rare crontabs that are legal, and load four rows for nothing.
        made = self.session.execute(sa.insert(TASKS).returning(TASKS.c.id, TASKS.c.name), tasks)
        numbers = {name: number for number, name in made}
        # Their rows are there already: the database's trigger made them.
        self.set_details({numbers[name]: details for name, (_task, details) in rows.items()})
        self._keep(action, dict.fromkeys(numbers.values()))

    def update(self, before: Stored, definition: Definition, action: str = "update") -> None:
        """Write a changed schedule as its next version. Raises IntegrityError when the name is taken."""
        tasks, details = _task_values(definition), _detail_values(definition)
        moved = before.rule != definition.rule or (
            definition.kind == Kind.CRONTAB and before.row.crontab_timezone != definition.timezone
        )
        if moved:
            tasks |= self._rule(definition)
        if before.rule != definition.rule:
            details["anchor"] = next_anchor(definition.rule, self.now)
        tasks["expires"] = None  # which its end says from now on
        if before.fired and definition.enabled:
            tasks["total_run_count"] = 0  # to run once more
        self.change([before], {before.id: tasks}, {before.id: details}, action)
        if moved:
            self._drop_unused_rule(before)

    def change(
        self, former: Sequence[Stored], tasks: Mapping[int, Values], details: Mapping[int, Values], action: str
    ) -> None:
        """Set columns of schedules, the same ones of each, and keep them as their next versions."""
        if not former:
            return
        self._keep_first_versions(former)
        _set(self.session, TASKS.c.id, tasks)
        versions = {one.id: {"version": one.row.version + 1} for one in former}
        self.set_details({number: {**details.get(number, {}), **version} for number, version in versions.items()})
        self._keep(action, {one.id: one for one in former})

    def set_details(self, details: Mapping[int, Values]) -> None:
        """Set what is part of no version, the same columns of each schedule."""
        _set(self.session, DETAILS.c.schedule_id, details)

    def pause(self, one: Any, reason: str, *, until: datetime | None = None, by: str | None = None) -> None:
        """Pause a schedule, a row with its `id` and `name`; without a person it is paused for its failures."""
        values = {"paused_at": self.now, "paused_until": until, "pause_reason": reason or None, "paused_by": by}
        if by is None:
            values["failing_since"] = self.now
        self._set_apart(one, "pause", values, None, {"reason": reason, "until": until and until.isoformat()})

    def resume(self, before: Stored, choice: Resume, by: str) -> None:
        """End a schedule's own pause; beat catches up what came due meanwhile, as chosen."""
        if choice != Resume.SKIP:
            pause_rows.record_own_pause(self.session, before.row, choice, self.now, by)
        values = dict.fromkeys(("paused_at", "paused_until", "pause_reason", "paused_by"))
        change = {"reason": before.row.pause_reason}, {"meanwhile": choice.value}
        self._set_apart(before, "resume", {**values, "failures_from": self.now}, *change)

    def recover(self, one: Any) -> None:
        """Note that a schedule that was paused for its failures has succeeded again."""
        self._set_apart(one, "recover", {"failing_since": None})

    def delete(self, before: Stored) -> None:
        """Delete a schedule. Its versions stay, and its runs but for skips ahead."""
        self.session.execute(sa.delete(TASKS).where(TASKS.c.id == before.id))
        self._drop_unused_rule(before)
        self.record("delete", [(before, before.snapshot, None)])
        self.written.pop(before.id, None)
        self._read_back([])
        self._withdraw_skips([before.id])

    def record(self, action: str, changes: Sequence[tuple[Any, Values | None, Values | None]]) -> None:
        """Add the audit's rows for an action: each schedule, and what it said before and after."""
        rows = []
        for one, *said in changes:
            # What the code or another program wrote into the table is no secret there, but one in the audit.
            before, after = (sealed(values) if values and "args" in values else values for values in said)
            what = ("schedule", one.id, one.name)
            rows.append(audit.row_values(f"schedule.{action}", what, before=before, after=after, **self._acting))
        if rows:
            self.session.execute(sa.insert(AuditEntry), rows)

    def rule(self, kind: Kind, values: Values, *, shared: bool) -> dict[str, Any]:
        """The columns that name a rule's row: an equal one that is there, where it may be `shared`, else a new one."""
        table, key = RULE_TABLES[kind], (kind, *values.values())
        if kind == Kind.SOLAR:
            _lock_solars(self.session)
        number = self._shared.get(key)
        if number is None and (shared or kind == Kind.SOLAR):
            same = (table.c[name] == value for name, value in values.items())
            number = self.session.execute(sa.select(table.c.id).where(*same).limit(1)).scalar()
        if number is None:
            number = self.session.execute(sa.insert(table).values(values).returning(table.c.id)).scalar_one()
        if shared:
            self._shared[key] = number
        return {"discriminator": DISCRIMINATORS[kind], "schedule_id": number}

    def _rule(self, definition: Definition) -> dict[str, Any]:
        return self.rule(definition.kind, _rule_values(definition.rule, definition.timezone), shared=False)

    def _set_apart(self, one: Any, action: str, values: Values, before: Any = None, after: Any = None) -> None:
        self.set_details({one.id: values})
        self.record(action, [(one, before, after)])
        self._read_back([one.id])

    def _keep(self, action: str, former: Mapping[int, Stored | None]) -> None:
        """Keep what was written as versions and in the audit; what is new has no former state."""
        self._read_back(former)
        said = {number: sealed(self.written[number].snapshot) for number in former}
        versions = [(number, self.written[number].row.version, snapshot) for number, snapshot in said.items()]
        self._note_versions(versions, self.author, self.now)
        changes = [
            (self.written[number], one.snapshot if one else None, said[number]) for number, one in former.items()
        ]
        self.record(action, changes)
        self._withdraw_skips([number for number, one in former.items() if one])

    def _read_back(self, numbers: Collection[int]) -> None:
        """Read into `written` what was written, and note the change where the library's own scheduler looks for it.

        Ours goes by the revision.
        """
        found = {one.id: one for one in find_many(self.session, numbers)}
        self.written |= {number: found[number] for number in numbers if number in found}
        PeriodicTaskChanged.update_changed(None, self.session.connection(), None)

    def _withdraw_skips(self, numbers: Collection[int]) -> None:
        """Delete the skips of moments that are no due times any more. One that is only disabled keeps its own."""
        query = sa.select(Run.id, Run.schedule_id, Run.due_at, Run.state).where(Run.schedule_id.in_(numbers))
        undue: dict[int, list[datetime]] = {}
        for row in self.session.execute(query.where(Run.due_at > self.now).order_by(Run.due_at)).all():
            one = self.written.get(row.schedule_id)
            if row.state == RunState.SKIPPED and (one is None or not one.is_due(row.due_at)):
                self.session.execute(sa.delete(Run).where(Run.id == row.id))
                self._withdrawn.append(row.id)
                undue.setdefault(row.schedule_id, []).append(row.due_at)
        for number in undue.keys() & self.written.keys():
            one = self.written[number] = replace(self.written[number], withdrawn=undue[number])
            self.record("unskip", [(one, {"due_at": [iso(due) for due in undue[number]]}, None)])

    def _keep_first_versions(self, found: Sequence[Stored]) -> None:
        """Remember, before its first edit, what each schedule said that was not written here: it has no version yet."""
        keys = {(one.id, one.row.version): one for one in found}
        query = sa.select(ScheduleVersion.schedule_id, ScheduleVersion.version)
        same = ScheduleVersion.schedule_id.in_([one.id for one in keys.values()])
        kept = {(row.schedule_id, row.version) for row in self.session.execute(query.where(same))}
        for key in keys.keys() - kept:
            one = keys[key]
            author = "the code" if one.row.owner == Owner.CODE else "another program"
            self._note_versions([(*key, sealed(one.snapshot))], author, one.row.changed_at)

    def _note_versions(self, versions: Sequence[tuple[int, int, Values]], author: str, at: datetime) -> None:
        """Keep what schedules say: the number, the version and the snapshot of each."""
        rows = [
            {
                "schedule_id": schedule_id,
                "version": version,
                "snapshot": json.dumps(snapshot, ensure_ascii=False),
                "author": author[:255],
                "created_at": at,
            }
            for schedule_id, version, snapshot in versions
        ]
        if rows:
            self.session.execute(sa.insert(ScheduleVersion), rows)

    def _drop_unused_rule(self, before: Stored) -> None:
        """Delete the rule row that a schedule had, unless another one uses it."""
        kind = KINDS.get(before.row.discriminator)
        if kind is None:
            return
        if kind == Kind.SOLAR:
            _lock_solars(self.session)
        rule_id = before.row.rule_id
        used = sa.exists().where(TASKS.c.discriminator == before.row.discriminator, TASKS.c.schedule_id == rule_id)
        table = RULE_TABLES[kind]
        self.session.execute(sa.delete(table).where(table.c.id == rule_id, ~used))


def _set(session: AnySession, key: sa.Column[Any], values: Mapping[int, Values]) -> None:
    """Set columns, the same ones of each row, by the numbers of the schedules."""
    if not values:
        return
    statement = sa.update(key.table).where(key == sa.bindparam("number"))
    statement = statement.values({name: sa.bindparam(f"new_{name}") for name in next(iter(values.values()))})
    rows = [
        {"number": number} | {f"new_{name}": value for name, value in row.items()} for number, row in values.items()
    ]
    session.execute(statement, rows)


def _task_values(definition: Definition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "task": definition.task,
        "args": json.dumps(definition.args),
        "kwargs": json.dumps(definition.kwargs),
        "queue": definition.queue,
        "exchange": definition.exchange,
        "routing_key": definition.routing_key,
        "priority": definition.priority,
        "expire_seconds": definition.expire_seconds,
        "start_time": utc(definition.start),  # SQLite drops the zone of the library's columns
        "enabled": definition.enabled,
        "one_off": definition.kind == Kind.CLOCKED,
        "description": definition.description,
    }


def _detail_values(definition: Definition) -> dict[str, Any]:
    return {
        "timezone": definition.timezone,
        "ends_at": definition.end,
        "max_runs": definition.max_runs,
        "jitter": definition.jitter,
        "misfire": definition.misfire,
        "misfire_window": definition.misfire_window,
        "overlap": definition.overlap,
        "failure_budget": definition.failure_budget,
        "tags": json.dumps(definition.tags, ensure_ascii=False),
    }


def _rule_values(rule: Rule, timezone: str) -> dict[str, Any]:
    """The columns of a rule's row."""
    match rule:
        case Crontab():
            names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            return {name: getattr(rule, name).replace(" ", "") for name in names} | {"timezone": timezone}
        case OneTime(at=at):
            return {"clocked_time": utc(at)}
        case _:
            return rule_values(rule)


def _lock_solars(session: AnySession) -> None:
    """No place is deleted as unused while another transaction begins to use it."""
    lock(session.connection(), _SOLAR_LOCK)
