"""Installs the schedules that the code defines (Celery's `beat_schedule`) in the tables. The leading beat does it.

For each name:

1. No such schedule: it is made, with owner "code" and what the code says kept beside it as `code_definition`.
2. It belongs to the code and the code says something new: if the row still is what the code said before, it becomes
   what the code says now; if an admin has edited it, the edit stays. Either way `code_definition` follows the code, so
   that pages can show the difference.
3. It belongs to an admin: it stays as it is, and a warning is logged.

What is written of a schedule is its next version and a row in the audit, both by `AUTHOR`; names are read and written
`CHUNK` at a time, so that many definitions cost a few statements.

Secret arguments are sealed in the row and in `code_definition`, and compared as they are.

A schedule of the code that the code does not define any more: if it is what the code said last, it is disabled, and
comes back if the code brings it back. If an admin has edited it, it is the admin's from now on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any

import sqlalchemy as sa
from celery import Celery
from celery.schedules import crontab, maybe_schedule, schedule, solar
from celery.utils.log import get_logger
from sqlalchemy.orm import Session
from sqlalchemy_celery_beat.clockedschedule import clocked

from beatdesk.secrecy.masking import Rule as Secrets
from beatdesk.secrecy.masking import rule_of
from beatdesk.secrecy.sealing import Unopenable
from webapp.database.engine import now
from webapp.database.moments import moment, seconds
from webapp.schedule_store import stored
from webapp.schedule_store.models import Owner
from webapp.schedule_store.rows import DETAILS, KINDS, SCHEDULES, TASKS, Row
from webapp.schedule_store.stored import Stored
from webapp.schedule_store.writing import Writer
from webapp.scheduler.leader import Lease
from webapp.secrecy.rows import open_call, seal_call

logger = get_logger(__name__)

Definition = dict[str, Any]

# The author of versions, and the actor in the audit, of what the code defines.
AUTHOR = "the code"
CHUNK = 500

_RULE_FIELDS = {
    "intervalschedule": ("every", "period"),
    "crontabschedule": ("minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"),
    "solarschedule": ("event", "latitude", "longitude"),
    "clockedschedule": ("clocked_time",),
}
_TASK_FIELDS = ("queue", "exchange", "routing_key", "priority", "expire_seconds", "one_off", "enabled")


def install(app: Celery, engine: sa.Engine, lease: Lease) -> None:
    """Install them in one transaction. Raises LeaseLost when another beat leads, or the database's errors."""
    wanted: dict[str, Definition] = {}
    for name, entry in app.conf.beat_schedule.items():
        try:
            defined = definition(entry, app.conf.timezone or "UTC")
            _text(defined)  # no JSON can be made of some
            wanted[name] = defined
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.error("The code's schedule %s cannot be used: %r", name, error)  # noqa: TRY400 - it names all there is
    # What the session writes is part of the connection's transaction, and stays when it is closed.
    with engine.begin() as connection, Session(connection, join_transaction_mode="rollback_only") as session:
        lease.prove(connection)
        installation, names = _Installation(session, app), iter(wanted)
        while part := {name: wanted[name] for name in islice(names, CHUNK)}:
            installation.install(part)
        installation.retire(set(app.conf.beat_schedule))


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
        # A kombu `Queue` or `Exchange` stands for its name.
        **{name: getattr(options.get(name), "name", options.get(name)) for name in ("queue", "exchange")},
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


class _Installation:
    """One installation of the code's definitions, in the transaction of a session."""

    def __init__(self, session: Session, app: Celery) -> None:
        self.session, self.app = session, app
        self.writer = Writer(session, AUTHOR, now(), actor=AUTHOR)

    def install(self, wanted: Mapping[str, Definition]) -> None:
        """Make what is not there, and have what is there follow what is said of it now."""
        columns = (TASKS.c.name, TASKS.c.id, DETAILS.c.owner, DETAILS.c.code_definition)
        query = sa.select(*columns).select_from(SCHEDULES).where(TASKS.c.name.in_(wanted))
        there = {row.name: row for row in self.session.execute(query)}
        new: dict[str, Definition] = {}
        said: dict[int, Definition] = {}
        for name, plain in wanted.items():
            row, rule = there.get(name), rule_of(self.app.tasks.get(plain["task"]))
            if row is None:
                new[name] = _sealed(plain, rule, {})
            elif row.owner != Owner.CODE:
                logger.warning(
                    "The code defines a schedule %s, but an admin has made one of that name, which stays.", name
                )
            else:
                former = json.loads(row.code_definition) if row.code_definition else {}
                defined = _sealed(plain, rule, former)
                if _text(defined) != row.code_definition:
                    said[row.id] = defined
        self._insert(new)
        self._follow(said)

    def retire(self, names: Collection[str]) -> None:
        """Disable what the code does not define any more; what an admin has edited becomes the admin's."""
        mine = sa.select(TASKS.c.id, TASKS.c.name).select_from(SCHEDULES)
        mine = mine.where(DETAILS.c.owner == Owner.CODE, DETAILS.c.code_definition.is_not(None))
        gone = [number for number, name in self.session.execute(mine).all() if name not in names]
        for place in range(0, len(gone), CHUNK):
            self._retire(self._locked(gone[place : place + CHUNK]))

    def _insert(self, new: Mapping[str, Definition]) -> None:
        rows = {}
        for name, defined in new.items():
            zone = {"timezone": defined.get("timezone", "UTC")}
            details = {"owner": Owner.CODE.value, "code_definition": _text(defined), **zone}
            rows[name] = (self._values(defined), details)
        self.writer.insert(rows, "create")
        for name in new:
            logger.info("The code's schedule %s was installed.", name)

    def _follow(self, said: Mapping[int, Definition]) -> None:
        found = self._locked(list(said))
        former = [one for one in found if one.row.code_definition is None or _is(one.row, one.row.code_definition)]
        self.writer.set_details({number: {"code_definition": _text(said[number])} for number in said})
        self.writer.change(former, {one.id: self._values(said[one.id]) for one in former}, {}, "update")
        for one in former:
            logger.info("The code's schedule %s follows the code's change.", one.name)
            if withdrawn := self.writer.written[one.id].withdrawn:
                due = ", ".join(str(moment) for moment in withdrawn)
                logger.info("Skips of the schedule %s were withdrawn, no longer due: %s", one.name, due)

    def _retire(self, found: Sequence[Stored]) -> None:
        as_said = {one.id: one for one in found if _is(one.row, one.row.code_definition)}
        ended = [one for one in as_said.values() if one.row.enabled]
        self.writer.change(ended, {one.id: {"enabled": False} for one in ended}, {}, "disable")
        details = {
            one.id: {"code_definition": None, "owner": Owner.CODE if one.id in as_said else Owner.ADMIN}
            for one in found
        }
        self.writer.set_details(details)
        kept = [one for one in found if one.id not in as_said]
        for one in as_said.values():
            logger.warning("The code does not define the schedule %s any more; it is disabled.", one.name)
        self.writer.record("update", [(one, {"owner": Owner.CODE}, {"owner": Owner.ADMIN}) for one in kept])
        for one in kept:
            logger.warning(
                "The code does not define the schedule %s any more; its edited form stays, as an admin's.", one.name
            )

    def _locked(self, ids: Sequence[int]) -> list[Stored]:
        """These schedules: of several changes at the same moment each sees what the one before it did."""
        if ids:
            self.session.execute(
                sa.select(TASKS.c.id).where(TASKS.c.id.in_(ids)).order_by(TASKS.c.id).with_for_update()
            ).all()
        return list(stored.find_many(self.session, ids))

    def _values(self, defined: Definition) -> dict[str, Any]:
        rule = {name: defined[name] for name in _RULE_FIELDS[defined["kind"]]}
        if "clocked_time" in rule:
            rule["clocked_time"] = moment(rule["clocked_time"])
        return {
            **{name: defined[name] for name in ("task", *_TASK_FIELDS)},
            **{name: json.dumps(defined[name]) for name in ("args", "kwargs", "headers")},
            "date_changed": self.writer.now,
            # A rule that others share is never changed.
            **self.writer.rule(KINDS[defined["kind"]], rule, shared=True),
        }
