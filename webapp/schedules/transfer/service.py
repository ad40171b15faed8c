"""Imports schedules: first the difference, then the import in one transaction.

An import starts no runs. Any entry can be left out; if one is invalid, the others are imported only on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from beatdesk.secrecy.sealing import VERSION
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
from webapp.schedules.actions import withdrawn_text
from webapp.schedules.history import Change, differences
from webapp.schedules.sources.given import UNNAMED, Given, entry_keys
from webapp.schedules.validation import examine
from webapp.task_catalogue.registry import call_note
from webapp.web.errors import Invalid

BATCH_SIZE = 500
WRITTEN = ("create", "change", "remove")
_DEFINED = "It is defined in code and would be created again, so it is kept."
_SAME_NAME = "Several entries have this name. Leave out all but one."
_DOUBTFUL = "It is kept, because an entry that cannot be imported may be this one. Leave that entry out to delete this."


@dataclass(frozen=True, slots=True)
class Step:
    """What an import does with one entry, with notes on it.

    The action is "create", "change", "keep" or "remove"; "skip" leaves it out; "refuse" means that it has errors.
    `key` is the name by which the entry can be left out, `left_out` whether it was. `withdrawn` names, after the
    import, the skips of coming due times that it withdrew.
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
    """What an import would do. Schedules that are not in it are kept, unless `remove` is set.

    `without` has the names or keys of entries and removals to leave out.
    """
    return [ready.step for ready in _prepare(entries, remove=remove, without=without)]


def apply(
    entries: Sequence[Given], *, remove: bool = False, without: Collection[str] = (), skip_refused: bool = False
) -> list[Step]:
    """Import what `difference` shows, in one transaction.

    Raises Invalid if an entry has errors, and imports nothing; with `skip_refused` it imports the others.
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
    """Record in the audit which entries only an admin may import; gives whether there were any."""
    forbidden = [step for step in steps if step.forbidden]
    for step in forbidden:
        own_tasks.note(step.errors["task"], kind="schedule", number="", name=step.name)
    db.session.commit()
    return bool(forbidden)


def refusals(steps: Sequence[Step]) -> dict[str, str]:
    """The errors, by line and name of the entry, and field."""
    return {f"{_place(step)}: {name}": text for step in steps for name, text in step.errors.items()}


def require_entries(steps: Sequence[Step], without: Collection[str]) -> None:
    """Refuse names in `without` that do not exist, as they may be misspelt. Raises Invalid at `without`."""
    missing = sorted(set(without) - {step.key for step in steps} - {step.name for step in steps})
    if missing:
        raise Invalid({"without": f"There is no entry “{missing[0][:80]}”."})


def written(steps: Sequence[Step]) -> int:
    """The number of schedules that an import writes."""
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
    """Write one schedule; gives the step with what was withdrawn."""
    before, definition, step = ready.before, ready.definition, ready.step
    if definition is None:
        assert before is not None  # noqa: S101  # only stored schedules are removed
        edit.delete(before)
    elif before is None:
        edit.create(definition, "import", anchor=ready.anchor)
    else:
        edit.update(before, definition, "import")
        return replace(step, withdrawn=withdrawn_text([edit.written[before.id]]))
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
    for start in range(0, len(names), BATCH_SIZE):
        some = select_schedules().where(TASKS.c.name.in_(names[start : start + BATCH_SIZE]))
        found |= {schedule.name: schedule for schedule in stored.load(db.session, some)}
    return found


def _placed(step: Step, key: str, *, left_out: bool) -> Step:
    """A step with its key. If it is left out, it has no errors, but still shows its changes."""
    if not left_out:
        return replace(step, key=key)
    return replace(step, key=key, left_out=True, action="skip", errors={}, forbidden=False)


def _removals(kept: set[str], without: Collection[str], *, doubtful: bool) -> list[_Ready]:
    """The removals of schedules that are not in `kept`. Those defined in code are kept, as they would be created again.

    If an entry has errors, all are kept, because the entry may be one of them.
    """
    names = db.session.execute(sa.select(TASKS.c.id, TASKS.c.name).order_by(TASKS.c.name))
    gone = [number for number, name in names if name not in kept]
    found: list[Stored] = []
    for start in range(0, len(gone), BATCH_SIZE):
        found += stored.find_many(db.session, gone[start : start + BATCH_SIZE])
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
    # An entry is complete: missing fields have their defaults, also for a schedule that exists already.
    wanted, current = {**DEFAULTS, **given.fields}, before.snapshot if before else None
    examined = examine(wanted, moment, current=current, opens=(VERSION,), keeps_unknown=True)
    definition = examined.definition
    if definition is None:
        return _Ready(Step(name, "refuse", errors=examined.errors, **about))
    words = describe(definition.recurrence())
    if note := call_note(definition.task):
        about["notes"] = [*given.notes, note]
    changes = differences(before.snapshot, definition.snapshot()) if before else ()
    reason = own_tasks.refusal(definition.task) or (own_tasks.refusal(before.row.task) if before else None)
    if reason and (changes or before is None):
        return _Ready(Step(name, "refuse", changes, {"task": reason}, forbidden=True, **about))
    if before is None:
        return _Ready(Step(name, "create", words=words, **about), None, definition, given.anchor)
    step = Step(name, "change" if changes else "keep", changes, words=words, **about)
    return _Ready(step, before, definition)
