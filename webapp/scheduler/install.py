"""Brings the schedules that the code defines (Celery's `beat_schedule`) into the tables. The leading beat does it.

For each name:

1. No such schedule: it is made, with owner "code" and what the code says kept beside it as `code_definition`.
2. It belongs to the code and the code says something new: if the row still is what the code said before, it becomes
   what the code says now; if an admin has edited it, the edit stays. Either way `code_definition` follows the code, so
   that pages can show the difference.
3. It belongs to an admin: it stays as it is, and a warning is logged.

Secret arguments are sealed in the row and in `code_definition`, and compared as they are.

A schedule of the code that the code does not define any more: if it is what the code said last, it is disabled, and
comes back if the code brings it back. If an admin has edited it, it is the admin's from now on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from celery import Celery
from celery.schedules import crontab, maybe_schedule, schedule, solar
from celery.utils.log import get_logger
from sqlalchemy_celery_beat import models as library
from sqlalchemy_celery_beat.clockedschedule import clocked

from webapp.database import now
from webapp.scheduler.database import moment, seconds
from webapp.scheduler.leader import Lease
from webapp.scheduler.rows import Row, named_row
from webapp.schedules.models import Owner, ScheduleDetail
from webapp.schedules.writing import withdraw_skips
from webapp.secrecy.masking import Rule as Secrets
from webapp.secrecy.masking import rule_of
from webapp.secrecy.rows import open_call, seal_call
from webapp.secrecy.sealing import Unopenable

logger = get_logger(__name__)

Definition = dict[str, Any]

_TASKS: sa.Table = library.PeriodicTask.__table__
_DETAILS: sa.Table = ScheduleDetail.__table__  # type: ignore[assignment]  # a mapped class has a Table here
_RULES: dict[str, sa.Table] = {
    model.__name__.lower(): model.__table__
    for model in (
        library.IntervalSchedule,
        library.CrontabSchedule,
        library.SolarSchedule,
        library.ClockedSchedule,
    )
}
_RULE_FIELDS = {
    "intervalschedule": ("every", "period"),
    "crontabschedule": ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"),
    "solarschedule": ("event", "latitude", "longitude"),
    "clockedschedule": ("clocked_time",),
}
_TASK_FIELDS = ("queue", "exchange", "routing_key", "priority", "expire_seconds", "one_off", "enabled")


def install(app: Celery, engine: sa.Engine, lease: Lease) -> None:
    """Do it, in one transaction. Raises LeaseLost when another beat leads, or the database's errors."""
    wanted: dict[str, Definition] = {}
    for name, entry in app.conf.beat_schedule.items():
        try:
            wanted[name] = definition(entry, app.conf.timezone or "UTC")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.error("The code's schedule %s cannot be used: %r", name, error)  # noqa: TRY400 - it names all there is
    with engine.begin() as connection:
        lease.prove(connection)
        for name, defined in wanted.items():
            _bring(connection, name, defined, rule_of(app.tasks.get(defined["task"])))
        _retire(connection, set(app.conf.beat_schedule))


def definition(entry: Mapping[str, Any], timezone: str) -> Definition:
    """What an entry of `beat_schedule` says, as plain values. A crontab without a zone of its own means `timezone`.

    Raises KeyError, TypeError or ValueError for what cannot be kept in the tables.
    """
    options = dict(entry.get("options") or {})
    expires = options.get("expire_seconds", options.get("expires"))
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    return {
        "task": str(entry["task"]),
        "args": list(entry.get("args") or []),
        "kwargs": dict(entry.get("kwargs") or {}),
        "headers": dict(options.get("headers") or {}),
        # A kombu `Queue` stands for its name.
        "queue": getattr(options.get("queue"), "name", options.get("queue")),
        "exchange": options.get("exchange"),
        "routing_key": options.get("routing_key"),
        "priority": options.get("priority"),
        "expire_seconds": None if expires is None else int(expires),
        "one_off": bool(options.get("one_off", isinstance(entry["schedule"], clocked))),
        "enabled": bool(entry.get("enabled", True)),
        **_rule(maybe_schedule(entry["schedule"]), timezone),
    }


def _rule(rule: Any, timezone: str) -> Definition:
    match rule:
        case clocked():
            return {"kind": "clockedschedule", "clocked_time": rule.clocked_time.timestamp()}
        case solar():
            return {"kind": "solarschedule", "event": rule.event, "latitude": rule.lat, "longitude": rule.lon}
        case crontab():
            zone = getattr(rule.__dict__.get("tz"), "key", timezone)
            names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
            fields = {name: str(getattr(rule, f"_orig_{name}")).replace(" ", "") for name in names}
            return {"kind": "crontabschedule", **fields, "timezone": zone}
        case schedule():
            length = rule.run_every
            whole = length.microseconds == 0
            every = int(length.total_seconds()) if whole else length // timedelta(microseconds=1)
            return {"kind": "intervalschedule", "every": every, "period": "seconds" if whole else "microseconds"}
    raise TypeError(f"{type(rule).__name__} has no table")


def row_definition(row: Row) -> Definition:
    """What a row of the tables says, in the same form."""
    kind = row.discriminator or ""
    values = {name: getattr(row, "crontab_timezone" if name == "timezone" else name) for name in _RULE_FIELDS[kind]}
    for name in ("latitude", "longitude"):
        if name in values:
            values[name] = float(values[name])
    if "clocked_time" in values:
        values["clocked_time"] = seconds(values["clocked_time"])
    return {
        "task": row.task,
        "args": json.loads(row.args or "[]") or [],
        "kwargs": json.loads(row.kwargs or "{}") or {},
        "headers": json.loads(row.headers or "{}") or {},
        **{name: getattr(row, name) for name in _TASK_FIELDS},
        "one_off": bool(row.one_off),
        "enabled": bool(row.enabled),
        "kind": kind,
        **values,
    }


def _text(defined: Definition) -> str:
    return json.dumps(defined, sort_keys=True)


def _sealed(defined: Definition, rule: Secrets, former: Definition) -> Definition:
    """A definition with its secrets sealed; as they are in the former one where they are the same."""
    call = former.get("args") or [], former.get("kwargs") or {}
    args, kwargs = seal_call(rule, defined["task"], defined["args"], defined["kwargs"], former=call)
    return {**defined, "args": args, "kwargs": kwargs}


def _opened(defined: Definition) -> Definition:
    """A definition with its secrets as they are; those that cannot be opened stay sealed."""
    try:
        args, kwargs = open_call(Secrets(), defined["task"], defined["args"], defined["kwargs"]).plain
    except Unopenable:
        return defined
    return {**defined, "args": args, "kwargs": kwargs}


def _is(row: Row, text: str | None) -> bool:
    """Whether a row says what a definition said."""
    try:
        said = json.loads(text or "")
        return row_definition(row) == said or _text(_opened(row_definition(row))) == _text(_opened(said))
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _bring(connection: sa.Connection, name: str, defined: Definition, rule: Secrets) -> None:
    row = named_row(connection, name)
    if row is None:
        defined = _sealed(defined, rule, {})
        values = _values(connection, defined)
        made = connection.execute(sa.insert(_TASKS).values(name=name, **values).returning(_TASKS.c.id)).scalar_one()
        timezone = defined.get("timezone", "UTC")
        _note(connection, made, owner=Owner.CODE.value, code_definition=_text(defined), timezone=timezone)
        logger.info("The code's schedule %s was installed.", name)
        return
    owner, former = connection.execute(
        sa.select(_DETAILS.c.owner, _DETAILS.c.code_definition).where(_DETAILS.c.schedule_id == row.id)
    ).one()
    if owner != Owner.CODE:
        logger.warning("The code defines a schedule %s, but an admin has made one of that name, which stays.", name)
        return
    defined = _sealed(defined, rule, json.loads(former) if former else {})
    text = _text(defined)
    if former != text:
        if former is None or _is(row, former):
            connection.execute(sa.update(_TASKS).where(_TASKS.c.id == row.id).values(**_values(connection, defined)))
            logger.info("The code's schedule %s follows the code's change.", name)
            if withdrawn := withdraw_skips(connection, row.id, now()):
                due = ", ".join(str(one) for one in withdrawn.values())
                logger.info("Skips of the schedule %s were withdrawn, no longer due: %s", name, due)
        _note(connection, row.id, code_definition=text)


def _retire(connection: sa.Connection, names: set[str]) -> None:
    statement = (
        sa.select(_TASKS.c.name, _DETAILS.c.code_definition)
        .join(_DETAILS, _DETAILS.c.schedule_id == _TASKS.c.id)
        .where(_DETAILS.c.owner == Owner.CODE, _DETAILS.c.code_definition.is_not(None))
    )
    for name, former in connection.execute(statement).all():
        row = None if name in names else named_row(connection, name)
        if row is None:
            continue
        if _is(row, former):
            connection.execute(sa.update(_TASKS).where(_TASKS.c.id == row.id).values(enabled=False))
            _note(connection, row.id, code_definition=None)
            logger.warning("The code does not define the schedule %s any more; it is disabled.", name)
        else:
            _note(connection, row.id, owner=Owner.ADMIN.value, code_definition=None)
            logger.warning(
                "The code does not define the schedule %s any more; its edited form stays, as an admin's.", name
            )


def _note(connection: sa.Connection, schedule_id: int, **values: Any) -> None:
    connection.execute(sa.update(_DETAILS).where(_DETAILS.c.schedule_id == schedule_id).values(**values))


def _values(connection: sa.Connection, defined: Definition) -> dict[str, Any]:
    return {
        **{name: defined[name] for name in ("task", *_TASK_FIELDS)},
        **{name: json.dumps(defined[name]) for name in ("args", "kwargs", "headers")},
        "discriminator": defined["kind"],
        "schedule_id": _rule_id(connection, defined),
        "date_changed": now(),
    }


def _rule_id(connection: sa.Connection, defined: Definition) -> int:
    """The row of the rule: an equal one that exists, or a new one. A rule that others share is never changed."""
    table = _RULES[defined["kind"]]
    values = {name: defined[name] for name in _RULE_FIELDS[defined["kind"]]}
    if "clocked_time" in values:
        values["clocked_time"] = moment(values["clocked_time"])
    same = sa.and_(*(table.c[name] == value for name, value in values.items()))
    found: int | None = connection.execute(sa.select(table.c.id).where(same).limit(1)).scalar()
    if found is not None:
        return found
    made: int = connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one()
    return made
