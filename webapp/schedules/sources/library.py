"""Translates rows of django-celery-beat and sqlalchemy-celery-beat, which have the same columns, into our fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from beatdesk.encoding import decode_json
from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import TARGETS
from webapp.schedules.sources.cron_dialect import translate
from webapp.schedules.sources.given import Given

RULES = ("interval", "crontab", "solar", "clocked")
# Columns without an equivalent here.
_UNSUPPORTED = ("headers",)


def from_row(
    row: Mapping[str, Any],
    kind: str,
    rule: Mapping[str, Any],
    now: datetime,
    line: int | None,
    *,
    timezone: str,
) -> Given:
    """One schedule: `row` has the columns of its task, `rule` those of its rule.

    `timezone` is the default for times without a time zone.
    """
    name = str(row.get("name") or "")
    if str(row.get("task") or "").startswith("celery."):
        return Given(name, line=line, skipped="Celery's own cleanup task; Beatdesk removes old results by retention.")
    notes = [
        f"“{key}” is not supported and is left out." for key in _UNSUPPORTED if row.get(key) not in (None, "", "{}")
    ]
    fields: dict[str, Any] = {
        "name": name,
        "task": row.get("task"),
        "args": _decoded(row.get("args"), []),
        "kwargs": _decoded(row.get("kwargs"), {}),
        "enabled": bool(row.get("enabled", True)),
        "queue": row.get("queue") or None,
        **{key: row.get(key) or None for key in TARGETS},
        "priority": row.get("priority"),
        "expire_seconds": row.get("expire_seconds"),
        "start": _parse_moment(row.get("start_time"), timezone, notes),
        "end": _parse_moment(row.get("expires"), timezone, notes),
        "description": row.get("description") or "",
        **_rule(kind, rule, timezone, notes),
    }
    if kind == "clocked":
        at = fields["at"]
        if isinstance(at, datetime) and at <= now:
            return Given(name, fields, line, skipped="Its time is in the past.")
    elif row.get("one_off"):
        fields["max_runs"] = 1
        if row.get("total_run_count") and fields["enabled"]:
            fields["enabled"] = False
            notes.append("It has run once, as set: it is imported disabled.")
    has_phase = kind == "interval" and not row.get("start_time")
    last_run = _parse_moment(row.get("last_run_at"), timezone, []) if has_phase else None
    return Given(name, fields, line, notes, anchor=_phase(last_run, now))


def _phase(last_run: Any, now: datetime) -> datetime | None:
    """The beginning of an interval's grid by its last run, in whole seconds, as when a database is adopted."""
    if not isinstance(last_run, datetime) or last_run > now:
        return None
    return last_run.replace(microsecond=0)


def _rule(kind: str, rule: Mapping[str, Any], timezone: str, notes: list[str]) -> dict[str, Any]:
    match kind:
        case "interval":
            return {"kind": kind, "every": rule.get("every"), "period": rule.get("period")}
        case "crontab":
            return {"kind": kind, **_crontab(rule, timezone, notes)}
        case "solar":
            return {"kind": kind} | {
                name: str(value) if name != "event" and value is not None else value
                for name, value in rule.items()
                if name in ("event", "latitude", "longitude")
            }
        case _:
            return {"kind": "clocked", "at": _parse_moment(rule.get("clocked_time"), timezone, notes)}


def _crontab(rule: Mapping[str, Any], timezone: str, notes: list[str]) -> dict[str, str]:
    """The five fields, with day 7 as Sunday, and the time zone, which rows of old versions lack."""
    fields = [str(rule.get(name, "*")).replace(" ", "") for name in FIELD_NAMES]
    if "7" in fields[-1]:
        # The other fields have Celery's syntax already.
        (*_others, fields[-1]), translated = translate(["*"] * 4 + fields[-1:])
        notes += translated
    named = rule.get("timezone")
    if not named:
        notes.append(f"Its crontab names no time zone: {timezone} is used.")
    return {"crontab": " ".join(fields), "timezone": str(named or timezone)}


def _decoded(value: Any, none: list[Any] | dict[str, Any]) -> Any:
    """The arguments. For the libraries, null and an empty object also mean no arguments."""
    if isinstance(value, str):
        try:
            value = decode_json(value or "null")
        except ValueError:
            return value  # the field's validation refuses it with a reason
    return none if value in (None, {}, []) else value


def _parse_moment(value: Any, timezone: str, notes: list[str]) -> Any:
    """An aware moment; a value that is not a moment is returned as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    if not isinstance(value, datetime) or value.tzinfo is not None:
        return value
    notes.append(f"{value:%Y-%m-%d %H:%M:%S} names no time zone: {timezone} is used.")
    return value.replace(tzinfo=ZoneInfo(timezone))
