"""The preview of a schedule before it is saved, computed by the functions that beat uses."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from webapp.extensions import db
from webapp.recurrence import DueTime, Recurrence, describe, due_times
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.pauses import covering
from webapp.schedule_store.stored import Stored
from webapp.schedules.editor.explanation import clock_notes
from webapp.schedules.holds import hold
from webapp.schedules.validation import examine
from webapp.task_catalogue.registry import find_task

COUNT = 10


@dataclass(frozen=True, slots=True)
class Preview:
    """The next due times of the typed schedule (`new`) and, for an edit, of the saved one (`old`, else None).

    `held` has the reasons for those of the new ones that a pause skips, `clock_notes` the effects of clock changes.
    """

    timezone: str = "UTC"
    words: str = ""
    new: list[DueTime] = field(default_factory=list)
    old: list[DueTime] | None = None
    changes: bool = False
    enabled: bool = True
    errors: dict[str, str] = field(default_factory=dict)
    call: str = ""
    held: dict[datetime, str] = field(default_factory=dict)
    clock_notes: list[str] = field(default_factory=list)


def unchanged(stored: Stored, now: datetime) -> Preview:
    """The preview of a schedule before anything is typed."""
    if stored.recurrence is None or stored.problem:
        return Preview()
    return Preview(clock_notes=clock_notes(stored.recurrence, now, stored.runs))


def preview(
    given: Mapping[str, Any], stored: Stored | None, now: datetime, like: Mapping[str, Any] | None = None
) -> Preview:
    """The preview of the given fields, with all their errors. `new` needs only the fields about time.

    `like` as in `examine`.
    """
    examined = examine(given, now, current=stored.snapshot if stored else None, like=like)
    old = stored.due_times(now, COUNT) if stored else None
    recurrence = examined.recurrence
    if recurrence is None:
        return Preview(old=old, errors=examined.errors, call=_call(given, stored))
    name = str(given.get("name") or (stored.name if stored else "")).strip()
    recurrence = dataclasses.replace(recurrence, seed=name)
    if stored is not None:
        recurrence = as_saved(recurrence, stored)
    done = stored.runs if stored else 0
    new = due_times(recurrence, now, COUNT, done)
    return Preview(
        timezone=recurrence.timezone,
        words=describe(recurrence),
        new=new,
        old=old,
        changes=old is None or [due.fires_at for due in old] != [due.fires_at for due in new],
        enabled=examined.definition.enabled if examined.definition else True,
        errors=examined.errors,
        call=_call(given, stored),
        clock_notes=clock_notes(recurrence, now, done),
        held=_held(new, stored, examined.definition.tags if examined.definition else ()),
    )


def _held(new: list[DueTime], stored: Stored | None, tags: Collection[str]) -> dict[datetime, str]:
    pauses = unsettled(db.session)
    held: dict[datetime, str] = {}
    for due in new:
        own = hold(stored, due.utc, ()) if stored is not None else None
        wide = covering(pauses, tags, due.utc)
        if text := own.told if own else wide and wide.text:
            held[due.utc] = text
    return held


def _call(given: Mapping[str, Any], stored: Stored | None) -> str:
    """The chosen task with the signature of its function; empty if none is chosen."""
    known = find_task(str(given.get("task") or (stored.row.task if stored else "")))
    if known is None:
        return ""
    parameters = [
        one.replace(annotation=_Annotation(one.annotation)) if isinstance(one.annotation, str) else one
        for one in known.signature.parameters.values()
    ]
    return f"{known.name}{inspect.Signature(parameters)}"


class _Annotation(str):
    """An annotation that is text, because its module delays it; a signature would show plain text with quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def as_saved(recurrence: Recurrence, stored: Stored) -> Recurrence:
    """The recurrence as it is after saving: an unchanged interval keeps its grid."""
    anchor = stored.row.anchor if recurrence.rule == stored.rule else recurrence.anchor
    return dataclasses.replace(recurrence, anchor=anchor)
