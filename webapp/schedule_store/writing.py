"""Writing schedules into the library's tables and ours, within the caller's transaction. No Flask here.

A rule row (celery_intervalschedule and its like) belongs to one schedule where the library allows it. It is never
changed: a schedule whose rule is edited gets another row, so that rows which somebody else made two schedules share
stay as they are for the other one; a row that no schedule uses any more is deleted. A place of the sun can be there
only once in the library's table, so those rows are shared, and found or made under a lock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTaskChanged

from webapp.database.dialects import lock
from webapp.recurrence import Crontab, Interval, OneTime, Rule, Solar
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.definition import Definition, Kind, next_anchor
from webapp.schedule_store.models import Owner, ScheduleTombstone, ScheduleVersion
from webapp.schedule_store.secret_arguments import sealed
from webapp.schedule_store.stored import (
    DETAILS,
    DISCRIMINATORS,
    KINDS,
    RULE_TABLES,
    SOLARS,
    TASKS,
    AnySession,
    Stored,
    find,
)

# Any number that nothing else locks by.
_SOLAR_LOCK = 0x5EED_501A


def insert(
    session: AnySession,
    definition: Definition,
    now: datetime,
    author: str,
    *,
    owner: Owner = Owner.ADMIN,
    code_definition: dict[str, Any] | None = None,
    anchor: datetime | None = None,
) -> int:
    """Add a schedule as its version 1; gives its number. Raises IntegrityError when the name is taken.

    `anchor` is where the grid of its interval begins, if not one step before now.
    """
    rule_id = _place_rule(session, definition.rule, definition.timezone)
    values = _task_values(definition) | {"headers": "{}", "total_run_count": 0}
    values |= {"discriminator": DISCRIMINATORS[definition.kind], "schedule_id": rule_id}
    # Core and not the library's models: those refuse rare crontabs that are legal, and load four rows for nothing.
    schedule_id = _inserted(session, TASKS, values)
    details = _detail_values(definition) | {
        "version": 1,
        "owner": owner,
        "anchor": anchor or next_anchor(definition.rule, now),
        "code_definition": None if code_definition is None else json.dumps(code_definition),
    }
    # The row is there already: the database's trigger made it.
    _update_details(session, schedule_id, details)
    note_versions(session, [(schedule_id, 1, definition.snapshot())], author, now)
    note_change(session)
    return schedule_id


def update(
    session: AnySession, stored: Stored, definition: Definition, now: datetime, author: str
) -> dict[str, datetime]:
    """Write a changed schedule as its next version; gives the skips that this withdrew, as of `withdraw_skips`."""
    keep_first_versions(session, [stored], now)
    values, details = _task_values(definition), _detail_values(definition)
    moved = stored.rule != definition.rule or (
        definition.kind == Kind.CRONTAB and stored.row.crontab_timezone != definition.timezone
    )
    if moved:
        values["schedule_id"] = _place_rule(session, definition.rule, definition.timezone)
        values["discriminator"] = DISCRIMINATORS[definition.kind]
    if stored.rule != definition.rule:
        details["anchor"] = next_anchor(definition.rule, now)
    values["expires"] = None  # which its end says from now on
    if stored.fired and definition.enabled:
        values["total_run_count"] = 0  # to run once more
    session.execute(sa.update(TASKS).where(TASKS.c.id == stored.id).values(values))
    version = (stored.row.version or 0) + 1
    _update_details(session, stored.id, {**details, "version": version})
    if moved:
        _drop_unused_rule(session, stored)
    note_versions(session, [(stored.id, version, definition.snapshot())], author, now)
    note_change(session)
    return withdraw_skips(session, stored.id, now)


def withdraw_skips(session: AnySession, schedule_id: int, now: datetime) -> dict[str, datetime]:
    """Delete the skips of moments that are no due times of a schedule any more: their due times by the runs' ids.

    For after a change of its rows, in the same transaction. While it is only disabled, its skips stay.
    """
    ahead = sa.select(Run.id, Run.due_at, Run.state).where(Run.schedule_id == schedule_id, Run.due_at > now)
    skips = {row.id: row.due_at for row in session.execute(ahead) if row.state == RunState.SKIPPED}
    found = find(session, schedule_id) if skips else None
    undue = {run_id: due for run_id, due in skips.items() if found is None or not found.is_due(due)}
    if undue:
        session.execute(sa.delete(Run).where(Run.id.in_(undue)))
    return undue


def update_details(session: AnySession, schedule_id: int, **values: Any) -> None:
    """Change what is not part of a version, such as a pause."""
    _update_details(session, schedule_id, values)
    note_change(session)


def delete(session: AnySession, stored: Stored, now: datetime) -> int:
    """Delete a schedule; gives the revision of that. Its versions stay, and its runs but for skips ahead."""
    session.execute(sa.delete(TASKS).where(TASKS.c.id == stored.id))
    _drop_unused_rule(session, stored)
    note_change(session)
    withdraw_skips(session, stored.id, now)
    tombstone = sa.select(ScheduleTombstone.revision).where(ScheduleTombstone.schedule_id == stored.id)
    return int(session.execute(tombstone).scalar_one())


def revision_of(session: AnySession, schedule_id: int) -> int:
    """The revision that the last change of a schedule got."""
    return int(session.execute(sa.select(DETAILS.c.revision).where(DETAILS.c.schedule_id == schedule_id)).scalar_one())


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
        "start_time": _utc(definition.start),
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


def _update_details(session: AnySession, schedule_id: int, values: dict[str, Any]) -> None:
    session.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == schedule_id).values(values))


def keep_first_versions(session: AnySession, found: Sequence[Stored], now: datetime) -> None:
    """Remember, before its first edit, what each schedule said that was not written here: it has no version yet."""
    keys = {(one.id, one.row.version): one for one in found if one.row.version}
    if not keys:
        return
    query = sa.select(ScheduleVersion.schedule_id, ScheduleVersion.version)
    same = ScheduleVersion.schedule_id.in_([one.id for one in keys.values()])
    kept = {(row.schedule_id, row.version) for row in session.execute(query.where(same))}
    for key in keys.keys() - kept:
        one = keys[key]
        author = "the code" if one.row.owner == Owner.CODE else "another program"
        note_versions(session, [(*key, sealed(one.snapshot))], author, one.row.changed_at or now)


def note_versions(
    session: AnySession, versions: Sequence[tuple[int, int, Mapping[str, Any]]], author: str, now: datetime
) -> None:
    """Keep what schedules say: the number, the version and the snapshot of each."""
    rows = [
        {
            "schedule_id": schedule_id,
            "version": version,
            "snapshot": json.dumps(snapshot, ensure_ascii=False),
            "author": author[:255],
            "created_at": now,
        }
        for schedule_id, version, snapshot in versions
    ]
    if rows:
        session.execute(sa.insert(ScheduleVersion), rows)


def note_change(session: AnySession) -> None:
    """Tell a scheduler of the library's own kind, should one read these tables. Ours goes by the revision."""
    PeriodicTaskChanged.update_changed(None, session.connection(), None)


def _utc(moment: datetime | None) -> datetime | None:
    """SQLite drops the zone of the library's columns, so it must be UTC before."""
    return None if moment is None else moment.astimezone(UTC)


def _place_rule(session: AnySession, rule: Rule, timezone: str) -> int:
    """The number of a rule row that says this."""
    match rule:
        case Interval():
            values: dict[str, Any] = {"every": rule.every, "period": rule.period}
            kind = Kind.INTERVAL
        case Crontab():
            names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            values = {name: getattr(rule, name).replace(" ", "") for name in names} | {"timezone": timezone}
            kind = Kind.CRONTAB
        case OneTime():
            values, kind = {"clocked_time": _utc(rule.at)}, Kind.CLOCKED
        case Solar():
            return _place_solar(session, rule)
    return _inserted(session, RULE_TABLES[kind], values)


def _place_solar(session: AnySession, rule: Solar) -> int:
    _lock_solars(session)
    values = {"event": rule.event, "latitude": rule.latitude, "longitude": rule.longitude}
    same = [SOLARS.c[name] == value for name, value in values.items()]
    found = session.execute(sa.select(SOLARS.c.id).where(*same)).scalar()
    if found is not None:
        return int(found)
    return _inserted(session, SOLARS, values)


def _inserted(session: AnySession, table: Any, values: dict[str, Any]) -> int:
    key: Any = session.execute(sa.insert(table).values(values)).inserted_primary_key  # type: ignore[attr-defined]
    return int(key[0])


def _lock_solars(session: AnySession) -> None:
    """Nobody deletes a place as unused while somebody else begins to use it."""
    lock(session.connection(), _SOLAR_LOCK)


def _drop_unused_rule(session: AnySession, stored: Stored) -> None:
    """Delete the rule row that a schedule had, unless another one uses it."""
    kind = KINDS.get(stored.row.discriminator)
    if kind is None:
        return
    if kind == Kind.SOLAR:
        _lock_solars(session)
    rule_id = stored.row.rule_id
    used = sa.exists().where(TASKS.c.discriminator == stored.row.discriminator, TASKS.c.schedule_id == rule_id)
    table = RULE_TABLES[kind]
    session.execute(sa.delete(table).where(table.c.id == rule_id, ~used))
