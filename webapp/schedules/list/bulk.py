"""Applies one action to many schedules, each in its own transaction, so that a failure does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from webapp.extensions import db
from webapp.schedule_store import stored
from webapp.schedule_store.stored import Stored
from webapp.schedules import actions, fields, service
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters
from webapp.web.errors import DomainError, Invalid

MAX_SCHEDULES = 500
PAUSING = ("pause", "resume")
EDITING = ("enable", "disable", "tag", "delete")
# The texts of the button and of the message afterwards.
WORDS = {
    "pause": ("Pause", "paused"),
    "resume": ("Resume", "resumed"),
    "run": ("Run now", "started"),
    "enable": ("Enable", "enabled"),
    "disable": ("Disable", "disabled"),
    "tag": ("Tag", "tagged"),
    "delete": ("Delete", "deleted"),
}


@dataclass(slots=True)
class Outcome:
    """How many schedules were changed, and by name why others were not."""

    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def chosen(ids: Sequence[int], filters: Filters | None, now: datetime) -> list[Stored]:
    """The schedules with these ids, or all that match. Raises Invalid for none, or for more than MAX_SCHEDULES."""
    wanted = listing.matching_ids(filters, now, MAX_SCHEDULES + 1) if filters is not None else ids
    if len(wanted) > MAX_SCHEDULES:
        raise Invalid({"": f"Select at most {MAX_SCHEDULES} schedules: narrow the search."})
    found = list(stored.find_many(db.session, wanted))
    if not found:
        raise Invalid({"": "Select at least one schedule."})
    return found


def apply(action: str, schedules: Sequence[Stored], given: Mapping[str, Any]) -> Outcome:
    """Apply an action to each. `given` may have `reason` and `until` for a pause, `add` for tags. Raises Invalid."""
    act = _action(action, given)
    outcome = Outcome()
    for schedule in schedules:
        try:
            act(schedule)
        except DomainError as error:
            db.session.rollback()
            outcome.refused[schedule.name] = str(error)
        else:
            outcome.done += 1
    return outcome


def _action(action: str, given: Mapping[str, Any]) -> Callable[[Stored], object]:
    match action:
        case "pause":
            reason, until = str(given.get("reason") or ""), str(given.get("until") or "")
            return lambda schedule: service.pause(schedule.id, reason=reason, until=until)
        case "resume":
            return lambda schedule: service.resume(schedule.id)
        case "run":
            return lambda schedule: actions.run_now(schedule.id, {})
        case "enable" | "disable":
            return lambda schedule: service.set_enabled(schedule.id, enabled=action == "enable")
        case "tag":
            added = _tags(given.get("add"))
            return lambda schedule: service.save(schedule.id, {"tags": [*schedule.tags, *added]})
        case "delete":
            return lambda schedule: service.delete(schedule.id)
    raise ValueError(f"unknown action {action}")


def _tags(text: Any) -> list[str]:
    try:
        found = fields.tags(text or "")
    except fields.FieldError as error:
        raise Invalid({"add": str(error)}) from error
    if not found:
        raise Invalid({"add": "Enter a tag."})
    return found
