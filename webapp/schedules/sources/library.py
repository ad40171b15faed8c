"""Rows as django-celery-beat and sqlalchemy-celery-beat keep them, in our fields. Both have the same columns."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from webapp.encoding import decode_json
from webapp.schedules.definition import TARGETS
from webapp.schedules.sources.given import Given

RULES = ("interval", "crontab", "solar", "clocked")
CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
# What messages may be given there, and schedules here not.
_NO_PLACE = ("headers",)


def from_row(row: Mapping[str, Any], kind: str, rule: Mapping[str, Any], now: datetime, line: int | None) -> Given:
    """One schedule: `row` has the columns of its table, `rule` those of the row that says when."""
    name = str(row.get("name") or "")
    if str(row.get("task") or "").startswith("celery."):
        return Given(name, line=line, skipped="Celery's own housekeeping; what it cleans up is kept and removed here.")
    notes = [f"“{key}” has no place here and is left out." for key in _NO_PLACE if row.get(key) not in (None, "", "{}")]
    fields: dict[str, Any] = {
        "name": name,
        "task": row.get("task"),
        "args": _list(row.get("args")),
        "kwargs": row.get("kwargs") or {},
        "enabled": bool(row.get("enabled", True)),
        "queue": row.get("queue") or None,
        **{key: row.get(key) or None for key in TARGETS},
        "priority": row.get("priority"),
        "expire_seconds": row.get("expire_seconds"),
        "start": _moment(row.get("start_time")),
        "end": _moment(row.get("expires")),
        "description": row.get("description") or "",
        **_rule(kind, rule),
    }
    if kind == "clocked":
        at = _moment(rule.get("clocked_time"))
        if isinstance(at, datetime) and at <= now:
            return Given(name, fields, line, skipped="Its one time has passed.")
    elif row.get("one_off"):
        fields["max_runs"] = 1
        if row.get("total_run_count") and fields["enabled"]:
            fields["enabled"] = False
            notes.append("It was to run once, and it has: it is imported disabled.")
    return Given(name, fields, line, notes)


def _rule(kind: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    match kind:
        case "interval":
            return {"kind": kind, "every": rule.get("every"), "period": rule.get("period")}
        case "crontab":
            fields = [str(rule.get(name, "*")).replace(" ", "") for name in CRON_FIELDS]
            return {"kind": kind, "crontab": " ".join(fields), "timezone": str(rule.get("timezone") or "UTC")}
        case "solar":
            return {"kind": kind} | {
                name: str(value) if name != "event" and value is not None else value
                for name, value in rule.items()
                if name in ("event", "latitude", "longitude")
            }
        case _:
            return {"kind": "clocked", "at": _moment(rule.get("clocked_time"))}


def _list(value: Any) -> Any:
    """Arguments; the libraries take a JSON object of one empty pair of braces for none, and so do people."""
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError:
            return value
    return [] if value in (None, {}) else value


def _moment(value: Any) -> Any:
    """An aware moment; without a zone it is UTC, as both libraries write it. What is no moment stays as it is."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return value
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
