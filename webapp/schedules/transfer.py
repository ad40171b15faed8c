"""Schedules as a file: YAML out and in, exactly; what an import would change is shown before it is done.

The file has what people decide (`Definition.snapshot`), without what equals the defaults. Not in it: numbers, versions,
pauses, and what has run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from webapp import broker
from webapp.accounts import audit
from webapp.database import now
from webapp.errors import Invalid
from webapp.extensions import db
from webapp.scheduler.wakeup import CHANNEL
from webapp.schedules import service, stored, writing
from webapp.schedules.definition import DEFAULTS, FIELDS, Definition
from webapp.schedules.history import Change, differences
from webapp.schedules.stored import TASKS, Stored, select_schedules
from webapp.schedules.validation import examine

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Step:
    """What an import does with one entry of the file: "create", "change" or "keep", or why it cannot."""

    name: str
    action: str
    changes: Sequence[Change] = ()
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Ready:
    step: Step
    before: Stored | None
    definition: Definition | None


def export_all() -> list[dict[str, Any]]:
    """Every schedule, by name, with only what differs from the defaults."""
    return [entry(found.snapshot) for found in stored.load(db.session, select_schedules().order_by(TASKS.c.name))]


def entry(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """One schedule as it stands in a file."""
    return {
        name: snapshot[name]
        for name in FIELDS
        if name in snapshot and not (name in DEFAULTS and snapshot[name] == DEFAULTS[name])
    }


def to_yaml(entries: Sequence[Mapping[str, Any]]) -> str:
    """The text of a file."""
    text: str = yaml.safe_dump({"schedules": list(entries)}, sort_keys=False, allow_unicode=True, width=100)
    return text


def from_yaml(text: str) -> list[dict[str, Any]]:
    """The entries of a file (YAML, or JSON, which is YAML too). Raises Invalid with what is wrong with the file."""
    try:
        read = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Invalid({"file": f"This is not YAML: {' '.join(str(error).split())}."}) from error
    entries = read.get("schedules") if isinstance(read, dict) else read
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise Invalid({"file": "A list named “schedules” is needed, each with its fields."})
    if len(entries) > MOST:
        raise Invalid({"file": f"At most {MOST:,} schedules at a time."})
    names = [one.get("name") for one in entries]
    if twice := {str(name) for name in names if names.count(name) > 1}:
        raise Invalid({"file": f"Named more than once: {', '.join(sorted(twice))}."})
    return [{str(name): value for name, value in one.items()} for one in entries]


def difference(entries: Sequence[Mapping[str, Any]]) -> list[Step]:
    """What an import of these entries would do. What is not in the file stays as it is."""
    return [ready.step for ready in _prepare(entries)]


def apply(entries: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Import all of it in one transaction, or nothing. Raises Invalid when any entry is wrong."""
    prepared, moment = _prepare(entries), now()
    errors = {f"{ready.step.name}: {name}": text for ready in prepared for name, text in ready.step.errors.items()}
    if errors:
        raise Invalid(errors)
    changed = [ready for ready in prepared if ready.definition is not None and ready.step.action != "keep"]
    revision = 0
    for ready in changed:
        assert ready.definition is not None  # noqa: S101  # so says the filter above
        revision = _write(ready.definition, ready.before, moment)
    db.session.commit()
    if changed:
        broker.announce(CHANNEL, str(revision))
    return [ready.step for ready in prepared]


def step_values(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    changes = {change.field: [change.before, change.after] for change in step.changes}
    return {"name": step.name, "action": step.action, "changes": changes, "errors": dict(step.errors)}


def _write(definition: Definition, before: Stored | None, moment: Any) -> int:
    if before is None:
        schedule_id = writing.insert(db.session, definition, moment, service.author())
    else:
        schedule_id = before.id
        writing.update(db.session, before, definition, moment, service.author())
    former = None if before is None else before.snapshot
    audit.record(db.session, "schedule.import", "schedule", schedule_id, definition.name, former, definition.snapshot())
    return writing.revision_of(db.session, schedule_id)


def _prepare(entries: Sequence[Mapping[str, Any]]) -> list[_Ready]:
    names = [one["name"] for one in entries if isinstance(one.get("name"), str)]
    found: dict[str, Stored] = {}
    for start in range(0, len(names), 500):
        some = select_schedules().where(TASKS.c.name.in_(names[start : start + 500]))
        found |= {schedule.name: schedule for schedule in stored.load(db.session, some)}
    return [_ready(one, found.get(str(one.get("name")))) for one in entries]


def _ready(given: Mapping[str, Any], before: Stored | None) -> _Ready:
    name = str(given.get("name") or "an entry without a name")
    # An entry says everything: what is left out is the default, also of a schedule that is there already.
    examined = examine({**DEFAULTS, **given}, now(), current=before.snapshot if before else None)
    if examined.definition is None:
        return _Ready(Step(name, "refuse", errors=examined.errors), before, None)
    if before is None:
        return _Ready(Step(name, "create"), None, examined.definition)
    changes = differences(before.snapshot, examined.definition.snapshot())
    return _Ready(Step(name, "change" if changes else "keep", changes), before, examined.definition)
