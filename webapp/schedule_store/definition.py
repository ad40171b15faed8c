"""The definition of a schedule as one value: made by validation, written to the tables, kept in versions.

Pure: no clock, no database, no Flask.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from webapp.recurrence import Crontab, DueTime, Interval, OneTime, Recurrence, Rule, Solar
from webapp.schedule_store.models import Misfire, Overlap


class Kind(StrEnum):
    """The kinds of rules, by the names that forms, JSON and files use."""

    INTERVAL = "interval"
    CRONTAB = "crontab"
    SOLAR = "solar"
    CLOCKED = "clocked"


KIND_WORDS = {
    Kind.INTERVAL: "Interval",
    Kind.CRONTAB: "Crontab",
    Kind.SOLAR: "Solar",
    Kind.CLOCKED: "One time",
}

# The fields that say when, for each kind, in the order in which people read them.
RULE_FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.INTERVAL: ("every", "period"),
    Kind.CRONTAB: ("crontab",),
    Kind.SOLAR: ("event", "latitude", "longitude"),
    Kind.CLOCKED: ("at",),
}
ALL_RULE_FIELDS = tuple(name for names in RULE_FIELDS.values() for name in names)
MOMENTS = ("at", "start", "end")

# The value of each field that is not given.
DEFAULTS: dict[str, Any] = {
    "timezone": "UTC",
    "args": [],
    "kwargs": {},
    "enabled": True,
    "queue": None,
    "exchange": None,
    "routing_key": None,
    "priority": None,
    "expire_seconds": None,
    "start": None,
    "end": None,
    "max_runs": None,
    "jitter": 0.0,
    "misfire": Misfire.RUN_ONCE.value,
    "misfire_window": 3600,
    "overlap": Overlap.ALLOW.value,
    "failure_budget": None,
    "description": "",
    "tags": [],
}
# What other programs may have set; people keep or remove it.
TARGETS = ("exchange", "routing_key")
FIELDS = ("name", "task", "kind", *ALL_RULE_FIELDS, *DEFAULTS)


@dataclass(frozen=True, slots=True)
class Definition:
    """A valid schedule. Moments are aware; `jitter` and windows are in seconds."""

    name: str
    task: str
    rule: Rule
    timezone: str = "UTC"
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    enabled: bool = True
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    expire_seconds: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    max_runs: int | None = None
    jitter: float = 0.0
    misfire: str = Misfire.RUN_ONCE
    misfire_window: int = 3600
    overlap: str = Overlap.ALLOW
    failure_budget: int | None = None
    description: str = ""
    tags: list[str] = field(default_factory=list)

    @property
    def kind(self) -> Kind:
        """Which of the four kinds its rule is."""
        return kind_of(self.rule)

    def recurrence(self) -> Recurrence:
        """The recurrence that its due times follow from."""
        return Recurrence(
            rule=self.rule,
            timezone=self.timezone,
            start=self.start,
            end=self.end,
            max_runs=self.max_runs,
            jitter=self.jitter,
            seed=self.name,
        )

    def snapshot(self) -> dict[str, Any]:
        """All of it as JSON values, moments as ISO text in UTC; validation makes the same definition of it again."""
        values: dict[str, Any] = {"name": self.name, "task": self.task, "kind": self.kind.value}
        values |= rule_values(self.rule)
        for name in DEFAULTS:
            value = getattr(self, name)
            values[name] = iso(value) if isinstance(value, datetime) else value
        return values


_KIND_OF = {Interval: Kind.INTERVAL, Crontab: Kind.CRONTAB, Solar: Kind.SOLAR, OneTime: Kind.CLOCKED}


def kind_of(rule: Rule) -> Kind:
    """Which of the four kinds a rule is."""
    return _KIND_OF[type(rule)]


def rule_values(rule: Rule) -> dict[str, Any]:
    """The fields of a rule, as JSON values."""
    match rule:
        case Interval(every=every, period=period):
            return {"every": every, "period": period}
        case Crontab():
            return {"crontab": rule.line}
        case Solar(event=event, latitude=latitude, longitude=longitude):
            return {"event": event, "latitude": latitude, "longitude": longitude}
        case OneTime(at=at):
            return {"at": iso(at)}


def iso(moment: datetime) -> str:
    """A moment in UTC, such as `2026-11-22T08:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def due_values(due: DueTime) -> dict[str, str]:
    """A due time as JSON values; `fires_at` is there when its jitter lets it fire later than it is due."""
    values = {"utc": iso(due.utc), "local": due.local.isoformat(), "note": due.note}
    return values if due.fires_at == due.utc else {**values, "fires_at": iso(due.fires_at)}


def next_anchor(rule: Rule, now: datetime) -> datetime | None:
    """Where the grid of an interval begins that is made or changed at `now`: its first due time is one step later.

    Whole minutes for intervals of minutes and more: "every 10 minutes" made at 12:03:27 is due at 12:13:00. One step
    back from now, so that a beat whose clock is behind does not take the beginning of the grid for a due time.
    """
    if not isinstance(rule, Interval):
        return None
    floor = now.astimezone(UTC).replace(microsecond=0)
    if rule.period in ("days", "hours", "minutes"):
        floor = floor.replace(second=0)
    return floor - timedelta(**{rule.period: rule.every})
