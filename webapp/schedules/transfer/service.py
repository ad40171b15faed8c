"""Schedules out of files: what an import would change is shown before it is done.

An import runs nothing. Any entry can be left out; one that is wrong refuses itself, and the others are imported where
that was asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import own_tasks
from webapp.recurrence import describe
from webapp.schedule_store import stored
from webapp.schedule_store.definition import DEFAULTS, Definition
from webapp.schedule_store.rows import TASKS, select_schedules
from webapp.schedule_store.stored import Stored
from webapp.schedule_store.writing import Writer
from webapp.schedules import service
from webapp.schedules.actions import told_withdrawn
from webapp.schedules.history import Change, differences
from webapp.schedules.sources.given import UNNAMED, Given, entry_keys
from webapp.schedules.validation import examine
from webapp.secrecy.sealing import VERSION
from webapp.task_catalogue.registry import serializer_note
from webapp.web.errors import Invalid

CHUNK = 500
WRITTEN = ("create", "change", "remove")
_DEFINED = "It is defined in code and would be created again, so it is kept."
_SAME_NAME = "Several entries have this name. Leave out all but one."
_DOUBTFUL = "It is kept, because an entry that cannot be imported may be this one. Leave that entry out to delete this."


@dataclass(frozen=True, slots=True)
class Step:
    """What an import does with one entry, and what people should know of it.

    The action is "create", "change", "keep" or "remove"; "skip" leaves it out; "refuse" is why nothing can be done.
    `key` is the name by which the entry can be left out, `left_out` whether it was. `withdrawn` says, once it is done,
    which skips ahead were withdrawn by it.
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
    key: str = ""
    left_out: bool = False
    withdrawn: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    step: Step
    before: Stored | None = None
    definition: Definition | None = None
    anchor: datetime | None = None


def difference(entries: Sequence[Given], *, remove: bool = False, without: Collection[str] = ()) -> list[Step]:
    """What an import would do. What is not among the entries stays, unless it is to be removed.

    `without` has the names or keys of what is left out, removals too.
    """
    return [ready.step for ready in _prepare(entries, remove=remove, without=without)]


def apply(
    entries: Sequence[Given], *, remove: bool = False, without: Collection[str] = (), skip_refused: bool = False
) -> list[Step]:
    """Import what `difference` shows, in one transaction.

    Raises Invalid when an entry is wrong, and imports nothing; with `skip_refused` it imports the others.
    """
    prepared, edit = _prepare(entries, remove=remove, without=without), service.writer(now())
    steps = [ready.step for ready in prepared]
    if errors := refusals(steps):
        found = next((step for step in steps if step.errors.keys() & service.CALL_FIELDS), None)
        if not note_refused(steps) and found is not None:
            service.record_refusal(("schedule", "", found.name), found.errors)
        if not skip_refused:
            raise Invalid(errors)
    done = [_write(edit, one) if one.step.action in WRITTEN else one.step for one in prepared]
    edit.commit()
    return done


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


def require_entries(steps: Sequence[Step], without: Collection[str]) -> None:
    """Refuse to leave out what is not there: it may be misspelt. Raises Invalid at `without`."""
    missing = sorted(set(without) - {step.key for step in steps} - {step.name for step in steps})
    if missing:
        raise Invalid({"without": f"There is no entry “{missing[0][:80]}”."})


def written(steps: Sequence[Step]) -> int:
    """How many schedules an import writes."""
    return sum(step.action in WRITTEN for step in steps)


def step_values(step: Step) -> dict[str, Any]:
    """A step as JSON values."""
    changes = {change.field: [change.before, change.after] for change in step.changes}
    notes = [*step.notes, *([step.withdrawn] if step.withdrawn else [])]
    values = {"name": step.name, "key": step.key, "action": step.action, "changes": changes}
    return values | {"errors": dict(step.errors), "notes": notes, "line": step.line}


def _place(step: Step) -> str:
    return step.name if step.line is None else f"line {step.line}, {step.name}"


def _write(edit: Writer, ready: _Ready) -> Step:
    """Write one schedule; gives what was done."""
    before, definition, step = ready.before, ready.definition, ready.step
    if definition is None:
        assert before is not None  # noqa: S101  # only what is there is removed
        edit.delete(before)
    elif before is None:
        edit.create(definition, "import", anchor=ready.anchor)
    else:
        edit.update(before, definition, "import")
        return replace(step, withdrawn=told_withdrawn([edit.written[before.id]]))
    return step


def _prepare(entries: Sequence[Given], *, remove: bool, without: Collection[str]) -> list[_Ready]:
    keys, unwanted = entry_keys(entries), frozenset(without)
    left_out = [key in unwanted or one.name in unwanted for key, one in zip(keys, entries, strict=True)]
    names = [one.name for one, left in zip(entries, left_out, strict=True) if not left and one.skipped is None]
    found, count = _stored(names), Counter(names)
    moment = now()
    prepared = []
    for one, key, left in zip(entries, keys, left_out, strict=True):
        twice = one.name and count[one.name] > 1 and not left and one.error is None
        ready = _ready(replace(one, error=_SAME_NAME) if twice else one, found.get(one.name), moment)
        prepared.append(replace(ready, step=_placed(ready.step, key, left_out=left)))
    if not remove:
        return prepared
    doubtful = any(ready.step.errors for ready in prepared)
    return [*prepared, *_removals({one.name for one in entries}, unwanted, doubtful=doubtful)]


def _stored(names: Sequence[str]) -> dict[str, Stored]:
    found: dict[str, Stored] = {}
    for start in range(0, len(names), CHUNK):
        some = select_schedules().where(TASKS.c.name.in_(names[start : start + CHUNK]))
        found |= {schedule.name: schedule for schedule in stored.load(db.session, some)}
    return found


def _placed(step: Step, key: str, *, left_out: bool) -> Step:
    """What is left out still says what it would do, but not what is wrong with it."""
    if not left_out:
        return replace(step, key=key)
    return replace(step, key=key, left_out=True, action="skip", errors={}, forbidden=False)


def _removals(kept: set[str], without: Collection[str], *, doubtful: bool) -> list[_Ready]:
    """What is there and not among the names. What the code defines would come back, so it stays.

    All of it stays while an entry is wrong, because that may be what the entry means.
    """
    names = db.session.execute(sa.select(TASKS.c.id, TASKS.c.name).order_by(TASKS.c.name))
    gone = [number for number, name in names if name not in kept]
    found: list[Stored] = []
    for start in range(0, len(gone), CHUNK):
        found += stored.find_many(db.session, gone[start : start + CHUNK])
    return [_removal(one, doubtful=doubtful, left_out=one.name in without) for one in found]


def _removal(found: Stored, *, doubtful: bool, left_out: bool) -> _Ready:
    reason = _DEFINED if found.code_definition else own_tasks.refusal(found.row.task)
    if not reason and doubtful:
        reason = _DOUBTFUL
    notes = [reason] if reason else []
    action = "skip" if reason or left_out else "remove"
    return _Ready(Step(found.name, action, notes=notes, key=found.name, left_out=left_out and not reason), found)


def _ready(given: Given, before: Stored | None, moment: datetime) -> _Ready:
    name = given.name or UNNAMED
    about: dict[str, Any] = {"notes": given.notes, "line": given.line, "command": given.command}
    if given.skipped is not None:
        return _Ready(Step(name, "skip", notes=[*given.notes, given.skipped], line=given.line))
    if given.error is not None:
        return _Ready(Step(name, "refuse", errors={"": given.error}, **about))
    # An entry says everything: what is left out is the default, also of a schedule that is there already.
    wanted, current = {**DEFAULTS, **given.fields}, before.snapshot if before else None
    examined = examine(wanted, moment, current=current, opens=(VERSION,), keeps_unknown=True)
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
        return _Ready(Step(name, "create", words=words, **about), None, definition, given.anchor)
    step = Step(name, "change" if changes else "keep", changes, words=words, **about)
    return _Ready(step, before, definition)
