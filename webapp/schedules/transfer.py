"""Schedules out of files and into them: what an import would change is shown before it is done.

An export has what people decide (`Definition.snapshot`), without what equals the defaults. Not in it: numbers,
versions, pauses, and what has run. An import takes all entries or none, and runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp import broker
from webapp.accounts import own_tasks
from webapp.database import now
from webapp.errors import Invalid
from webapp.extensions import db
from webapp.registry import serializer_note
from webapp.scheduler.recurrence import describe
from webapp.scheduler.wakeup import CHANNEL
from webapp.schedules import secret_arguments, service, stored, writing
from webapp.schedules.actions import told_withdrawn
from webapp.schedules.definition import DEFAULTS, FIELDS, Definition
from webapp.schedules.history import Change, differences
from webapp.schedules.sources.given import Given
from webapp.schedules.stored import TASKS, Stored, select_schedules
from webapp.schedules.validation import examine
from webapp.secrecy.rows import sealed_places
from webapp.secrecy.sealing import VERSION

CHUNK = 500
WRITTEN = ("create", "change", "remove")


@dataclass(frozen=True, slots=True)
class Step:
    """What an import does with one entry, and what people should know of it.

    The action is "create", "change", "keep" or "remove"; "skip" leaves it out; "refuse" is why nothing can be done.
    `withdrawn` says, once it is done, which skips ahead were withdrawn by it.
    """

    name: str
    action: str
    changes: Sequence[Change] = ()
    errors: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    line: int | None = None
    command: str | None = None
    words: str = ""
    forbidden: bool = False
    withdrawn: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    step: Step
    before: Stored | None = None
    definition: Definition | None = None


def snapshots() -> list[dict[str, Any]]:
    """What every schedule says, by name."""
    return [found.snapshot for found in stored.load(db.session, select_schedules().order_by(TASKS.c.name))]


def export_all(*, with_seals: bool = False) -> list[dict[str, Any]]:
    """Every schedule, by name, with only what differs from the defaults; secrets masked, or sealed to import them."""
    return [entry(secret_arguments.exported(one) if with_seals else secret_arguments.shown(one)) for one in snapshots()]


def sealed(entries: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By the name of the schedule, where sealed secrets stand: only the same SECRET_KEY opens them."""
    found = {str(one["name"]): sealed_places(one.get("args"), one.get("kwargs")) for one in entries}
    return {name: places for name, places in found.items() if places}


def entry(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """One schedule as it stands in a file."""
    return {
        name: snapshot[name]
        for name in FIELDS
        if name in snapshot and not (name in DEFAULTS and snapshot[name] == DEFAULTS[name])
    }


def difference(entries: Sequence[Given], *, remove: bool = False) -> list[Step]:
    """What an import would do. What is not among the entries stays, unless it is to be removed."""
    return [ready.step for ready in _prepare(entries, remove=remove)]


def apply(entries: Sequence[Given], *, remove: bool = False) -> list[Step]:
    """Import all of it in one transaction, or nothing. Raises Invalid when any entry is wrong."""
    prepared, moment = _prepare(entries, remove=remove), now()
    steps = [ready.step for ready in prepared]
    if errors := refusals(steps):
        found = next((step for step in steps if step.errors.keys() & service.CALL_FIELDS), None)
        if not note_refused(steps) and found is not None:
            service.record_refusal(("schedule", "", found.name), found.errors)
        raise Invalid(errors)
    written = [_write(one, moment) if one.step.action in WRITTEN else (one.step, None) for one in prepared]
    db.session.commit()
    if revisions := [revision for _step, revision in written if revision is not None]:
        broker.announce(CHANNEL, str(max(revisions)))
    return [step for step, _revision in written]


def note_refused(steps: Sequence[Step]) -> bool:
    """Audit which entries only an admin may import; gives whether there were any."""
    forbidden = [step for step in steps if step.forbidden]
    for step in forbidden:
        own_tasks.note(step.errors["task"], kind="schedule", number="", name=step.name)
    db.session.commit()
    return bool(forbidden)


def refusals(steps: Sequence[Step]) -> dict[str, str]:
    """What is wrong, by the line and name of the entry, and the field."""
    return {f"{_place(step)}: {name}": text for step in steps for name, text in step.errors.items()}


def written(steps: Sequence[Step]) -> int:
    """How many schedules an import writes."""
    return sum(step.action in WRITTEN for step in steps)


def step_values(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    changes = {change.field: [change.before, change.after] for change in step.changes}
    notes = [*step.notes, *([step.withdrawn] if step.withdrawn else [])]
    values = {"name": step.name, "action": step.action, "changes": changes, "errors": dict(step.errors)}
    return values | {"notes": notes, "line": step.line}


def _place(step: Step) -> str:
    return step.name if step.line is None else f"line {step.line}, {step.name}"


def _write(ready: _Ready, moment: datetime) -> tuple[Step, int]:
    """Write one schedule; gives what was done, and the revision of that."""
    before, definition, step = ready.before, ready.definition, ready.step
    if definition is None:
        assert before is not None  # noqa: S101  # only what is there is removed
        service.record("delete", before.id, before.name, before.snapshot, None)
        return step, writing.delete(db.session, before, moment)
    if before is None:
        schedule_id = writing.insert(db.session, definition, moment, service.author())
        service.record("import", schedule_id, definition.name, None, definition.snapshot())
    else:
        schedule_id = before.id
        if withdrawn := service.update(before, definition, moment, "import"):
            saved = replace(service.get(schedule_id), withdrawn=tuple(withdrawn.values()))
            step = replace(step, withdrawn=told_withdrawn([saved]))
    return step, writing.revision_of(db.session, schedule_id)


def _prepare(entries: Sequence[Given], *, remove: bool) -> list[_Ready]:
    names = [str(one.fields["name"]) for one in entries if one.fields.get("name")]
    found: dict[str, Stored] = {}
    for start in range(0, len(names), CHUNK):
        some = select_schedules().where(TASKS.c.name.in_(names[start : start + CHUNK]))
        found |= {schedule.name: schedule for schedule in stored.load(db.session, some)}
    moment = now()
    prepared = [_ready(one, found.get(str(one.fields.get("name"))), moment) for one in entries]
    return [*prepared, *_removals({one.name for one in entries})] if remove else prepared


def _removals(kept: set[str]) -> list[_Ready]:
    """What is there and not among the names. What the code defines would come back, so it stays."""
    names = db.session.execute(sa.select(TASKS.c.id, TASKS.c.name).order_by(TASKS.c.name))
    gone = [number for number, name in names if name not in kept]
    found: list[Stored] = []
    for start in range(0, len(gone), CHUNK):
        found += stored.find_many(db.session, gone[start : start + CHUNK])
    defined = "The code defines it and would bring it back, so it stays."
    reasons = [(one, defined if one.code_definition else own_tasks.refusal(one.row.task)) for one in found]
    return [
        _Ready(Step(one.name, "skip", notes=[reason])) if reason else _Ready(Step(one.name, "remove"), one)
        for one, reason in reasons
    ]


def _ready(given: Given, before: Stored | None, moment: datetime) -> _Ready:
    name = given.name or "an entry without a name"
    about: dict[str, Any] = {"notes": given.notes, "line": given.line, "command": given.command}
    if given.skipped is not None:
        return _Ready(Step(name, "skip", notes=[*given.notes, given.skipped], line=given.line))
    if given.error is not None:
        return _Ready(Step(name, "refuse", errors={"": given.error}, **about))
    # An entry says everything: what is left out is the default, also of a schedule that is there already.
    examined = examine(
        {**DEFAULTS, **given.fields}, moment, current=before.snapshot if before else None, opens=(VERSION,)
    )
    definition = examined.definition
    if definition is None:
        return _Ready(Step(name, "refuse", errors=examined.errors, **about))
    words = describe(definition.recurrence())
    if note := serializer_note(definition.task):
        about["notes"] = [*given.notes, note]
    changes = differences(before.snapshot, definition.snapshot()) if before else ()
    reason = own_tasks.refusal(definition.task) or (own_tasks.refusal(before.row.task) if before else None)
    if reason and (changes or before is None):
        return _Ready(Step(name, "refuse", changes, {"task": reason}, forbidden=True, **about))
    if before is None:
        return _Ready(Step(name, "create", words=words, **about), None, definition)
    step = Step(name, "change" if changes else "keep", changes, words=words, **about)
    return _Ready(step, before, definition)
