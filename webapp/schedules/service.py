"""Changes of schedules by users. Each action is one transaction of `schedule_store.writing`.

Nothing here fires a schedule: beat continues with the first due time after the edit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from flask import has_request_context
from flask_security import current_user

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import own_tasks, refusals
from webapp.recurrence.zone_search import find_zone
from webapp.runs.call.forms import is_field
from webapp.schedule_store import stored
from webapp.schedule_store.definition import Definition
from webapp.schedule_store.models import Resume
from webapp.schedule_store.rows import TASKS
from webapp.schedule_store.stored import Stored
from webapp.schedule_store.writing import Writer
from webapp.schedules import drift, history
from webapp.schedules.bodies import SchedulePausing
from webapp.schedules.validation import check_schedule
from webapp.secrecy.rows import ALL_VERSIONS
from webapp.web.bodies import read_values
from webapp.web.errors import Conflict, Invalid, NotFound
from webapp.web.formats import exact
from webapp.web.parameters import LARGEST_ID
from webapp.web.templating import reader_zone

CALL_FIELDS = frozenset({"task", "args", "kwargs"})


class Edited(Conflict):
    """Another save came first. `schedule` is as it is now, `version` the edited one; saved by `by`, at `at` (UTC)."""

    def __init__(self, schedule: Stored, version: int) -> None:
        self.schedule, self.version = schedule, version
        self.by, self.at = history.last_save(schedule)
        saved = (
            f"{self.by} saved version {schedule.row.version} of “{schedule.name}” at {exact(self.at, reader_zone())}"
        )
        super().__init__(f"{saved[0].upper()}{saved[1:]}. You edited version {version}; your changes were not saved.")


def get(schedule_id: int) -> Stored:
    """One schedule. Raises NotFound."""
    found = stored.find(db.session, schedule_id) if schedule_id <= LARGEST_ID else None
    if found is None:
        raise NotFound(f"There is no schedule with the ID {schedule_id}.")
    return found


def get_locked(schedule_id: int) -> Stored:
    """One schedule, locked for a change, so that parallel changes see each other. Raises NotFound."""
    # `scalar` reads the result to its end: an open cursor would keep SQLite's write lock after the transaction.
    db.session.scalar(sa.select(TASKS.c.id).where(TASKS.c.id == min(schedule_id, LARGEST_ID)).with_for_update())
    return get(schedule_id)


def create(given: Mapping[str, Any], *, like: int | None = None) -> Stored:
    """Create a schedule; masked arguments are taken from the schedule that it is `like`.

    Raises Invalid, Forbidden.
    """
    moment, what = now(), ("schedule", "", str(given.get("name", "")))
    definition = _checked(what, given, moment, like=snapshot_like(like), taken=name_taken)
    own_tasks.require(definition.task, name=definition.name)
    edit = writer(moment)
    try:
        edit.create(definition)
    except sa.exc.IntegrityError as error:
        raise _name_conflict(error) from error
    return edit.commit()[0]


def snapshot_like(schedule_id: int | None) -> dict[str, Any] | None:
    """The snapshot of the schedule that a new one is copied from; None if there is none, or it was deleted."""
    found = stored.find(db.session, schedule_id) if schedule_id else None
    return found.snapshot if found else None


def save(
    schedule_id: int, given: Mapping[str, Any], *, version: int | None = None, opens: Collection[str] = ()
) -> Stored:
    """Change the given fields. Without a change, nothing is written. `opens` as in `examine`.

    Raises Invalid, NotFound, Forbidden, and Conflict if `version` is given and is no longer the last one.
    """
    before, moment = get_locked(schedule_id), now()
    require_admin_for_own(before)
    if version is not None and version != before.row.version:
        raise Edited(before, version)
    definition = _checked(
        ("schedule", schedule_id, before.name),
        given,
        moment,
        current=before.snapshot,
        opens=opens,
        taken=lambda name: name_taken(name, besides=schedule_id),
    )
    return _write(before, definition, moment, "update")


def save_together(changes: Sequence[tuple[int, Mapping[str, Any], int]]) -> list[Stored]:
    """Change several schedules in one transaction, all or none. `changes` has id, fields and edited version of each.

    Raises Conflict if one was edited since; Invalid, NotFound or Forbidden for the first that cannot be changed.
    """
    edit = writer(moment := now())
    for schedule_id, given, version in changes:
        before = get_locked(schedule_id)
        require_admin_for_own(before)
        if version != before.row.version:
            raise Edited(before, version)
        definition = _checked(("schedule", schedule_id, before.name), given, moment, current=before.snapshot)
        require_admin_for_own(before, definition)
        if definition.snapshot() != before.snapshot:
            edit.update(before, definition)
    return edit.commit()


def record_refusal(what: tuple[str, object, str], errors: Mapping[str, str]) -> None:
    """Record in the audit that a task or its arguments were refused; other errors are not recorded."""
    found = {name: text for name, text in errors.items() if name in CALL_FIELDS or is_field(name)}
    if found:
        refusals.record("schedule.refuse", what, str(Invalid(found)))


def _checked(what: tuple[str, object, str], given: Mapping[str, Any], moment: datetime, **more: Any) -> Definition:
    try:
        return check_schedule(given, moment, **more)
    except Invalid as error:
        record_refusal(what, error.fields)
        raise


def restore(schedule_id: int, version: int) -> Stored:
    """Save an earlier version as a new one, except for whether it is enabled. Raises NotFound, Invalid."""
    before = get(schedule_id)
    snapshot = history.snapshot_of(schedule_id, version)
    if snapshot is None:
        raise NotFound(f"“{before.name}” has no version {version}.")
    return save(schedule_id, {**snapshot, "enabled": bool(before.row.enabled)}, opens=ALL_VERSIONS)


def reset(schedule_id: int, names: list[str]) -> Stored:
    """Reset these fields, or all that differ, to the code's values. Raises Conflict if it is not defined in code."""
    before = get(schedule_id)
    if before.code_definition is None:
        raise Conflict("This schedule is not defined in code.")
    return save(schedule_id, drift.reset_values(before, names), opens=ALL_VERSIONS)


def set_enabled(schedule_id: int, *, enabled: bool) -> Stored:
    """Enable or disable a schedule. Enabling does not fire it now.

    Raises Conflict if its time is in the past, Invalid, NotFound, Forbidden.
    """
    before, moment = get_locked(schedule_id), now()
    require_admin_for_own(before)
    if bool(before.row.enabled) == enabled:
        return before
    try:
        definition = check_schedule({"enabled": enabled}, moment, current=before.snapshot)
    except Invalid as error:
        if not enabled:
            # A schedule that is no longer valid, such as one whose task is gone, can still be disabled.
            edit = writer(moment)
            edit.change([before], {before.id: {"enabled": False}}, {}, "disable")
            return edit.commit()[0]
        if error.fields.keys() == {"at"}:
            raise Conflict("Its time is in the past. Set a new time, then enable it.") from error
        raise
    return _write(before, definition, moment, "enable" if enabled else "disable")


def delete(schedule_id: int) -> None:
    """Delete a schedule; its runs and versions stay.

    Raises NotFound, Forbidden, and Conflict if it is defined in code.
    """
    before = get_locked(schedule_id)
    require_admin_for_own(before)
    if before.code_definition is not None:
        raise Conflict("This schedule is defined in code and would be created again. Disable it instead.")
    edit = writer(now())
    edit.delete(before)
    edit.commit()


def pause(schedule_id: int, *, reason: str = "", until: str = "") -> Stored:
    """Pause a schedule until a moment, or until it is resumed. Raises Invalid at `reason` or `until`, NotFound."""
    before, moment = get_locked(schedule_id), now()
    zone = ZoneInfo(find_zone(before.timezone) or "UTC")
    wanted = read_values(SchedulePausing, {"reason": reason, "until": until}, zone=zone, now=moment)
    if before.paused and (before.row.pause_reason, before.row.paused_until) == (wanted.reason or None, wanted.until):
        return before
    edit = writer(moment)
    edit.pause(before, wanted.reason, until=wanted.until, by=author_name())
    return edit.commit()[0]


def resume(schedule_id: int, on_resume: Resume = Resume.SKIP) -> Stored:
    """End a pause. `on_resume` says what becomes of what came due meanwhile: nothing, unless something else is said.

    Beat makes up for it. Raises NotFound.
    """
    before, edit = get_locked(schedule_id), writer(now())
    if not before.paused:
        return before
    edit.resume(before, on_resume, author_name())
    return edit.commit()[0]


def name_taken(name: str, *, besides: int | None = None) -> bool:
    """Whether another schedule has this name."""
    query = sa.select(TASKS.c.id).where(TASKS.c.name == name)
    if besides is not None:
        query = query.where(TASKS.c.id != besides)
    return db.session.execute(query).first() is not None


def author() -> str:
    """The acting user with their email address, for versions."""
    if has_request_context() and current_user.is_authenticated:
        return f"{current_user.name} <{current_user.email}>"
    return history.COMMAND_LINE


def writer(moment: datetime) -> Writer:
    """A writer for the acting user, in the request's transaction."""
    return Writer(db.session, author(), moment)


def author_name() -> str:
    """The acting user's name, for texts that all users can read."""
    if has_request_context() and current_user.is_authenticated:
        return str(current_user.name)
    return "the command line"


def require_admin_for_own(before: Stored, after: Definition | None = None) -> None:
    """Refuse a user who may not change a schedule of Beatdesk's own tasks, or make it one. Raises Forbidden."""
    tasks = (before.row.task,) if after is None else (before.row.task, after.task)
    own_tasks.require(*tasks, number=before.id, name=before.name)


def _write(before: Stored, definition: Definition, moment: datetime, action: str) -> Stored:
    require_admin_for_own(before, definition)
    if definition.snapshot() == before.snapshot:
        return before
    edit = writer(moment)
    try:
        edit.update(before, definition, action)
    except sa.exc.IntegrityError as error:
        raise _name_conflict(error) from error
    return edit.commit()[0]


def _name_conflict(error: sa.exc.IntegrityError) -> Exception:
    """The error for a name that was taken between check and insert; any other error is returned as it is."""
    db.session.rollback()
    if "name" in str(error.orig).lower():
        return Invalid({"name": "Another schedule has this name."})
    return error
