"""Actions that do not change a schedule: running it now, skipping its next due time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask_security import current_user

from beatdesk.secrecy.embedded import sealed
from beatdesk.secrecy.masking import Concealed
from beatdesk.secrecy.sealing import Unopenable
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit
from webapp.queue_names import target_refusal
from webapp.recurrence.zones import zone
from webapp.run_store import sending
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.skipping import skip_due, skipped_ahead, unskip_due
from webapp.run_store.states import Origin
from webapp.runs.call import forms
from webapp.runs.service import check_call, send_runs
from webapp.schedule_store.secret_arguments import opened
from webapp.schedule_store.status import comes_due
from webapp.schedule_store.stored import Stored
from webapp.schedules import service
from webapp.schedules.bodies import OtherArguments
from webapp.schedules.validation import with_call
from webapp.secrecy.masked_input import Input, Refused
from webapp.task_catalogue.registry import rule_for
from webapp.web.bodies import read_values
from webapp.web.errors import Conflict, Invalid
from webapp.web.formats import plural

# How many due times ahead can be skipped.
MAX_SKIPPED = 50
# How many of the skips that an edit withdrew are listed.
MAX_LISTED = 5


def run_now(schedule_id: int, given: Mapping[str, Any]) -> Run:
    """Run the schedule's task once, now, with its own arguments or others. Its due times do not change.

    Works for disabled and paused schedules too. Raises Invalid at `args` or `kwargs`, NotFound, Forbidden, and Conflict
    if its messages must not be sent to its queue or exchange.
    """
    schedule, moment = service.get(schedule_id), now()
    service.require_admin_for_own(schedule)
    own = {"args", "kwargs"}.isdisjoint(given) and not forms.sent_as_fields(given)
    try:
        args, kwargs = arguments(schedule, given)
        check_call(schedule.row.task, args, kwargs, repeated=own)
    except Invalid as error:
        service.record_refusal(("schedule", schedule.id, schedule.name), error.fields)
        raise
    if reason := target_refusal(schedule.row.queue, schedule.row.exchange, schedule.row.routing_key):
        raise Conflict(reason)
    limit = schedule.row.expire_seconds
    options = message_options(schedule)
    run = create_run(
        db.session,
        schedule.row.task,
        args,
        kwargs,
        origin=Origin.LAUNCH,
        created_by=current_user.id if current_user and current_user.is_authenticated else None,
        queue=schedule.row.queue,
        priority=schedule.row.priority,
        expires_at=moment + timedelta(seconds=limit) if limit else None,
        schedule_id=schedule.id,
        schedule_name=schedule.name,
        schedule_version=schedule.row.version,
        options=json.dumps(options, sort_keys=True) if options else None,
    )
    # As stored in the run: without their secrets.
    after = {"run": run.id, "args": json.loads(run.args), "kwargs": json.loads(run.kwargs)}
    audit.record(db.session, "schedule.run", "schedule", schedule.id, schedule.name, None, after)
    db.session.commit()
    send_runs([run])
    return run


def skip_next(schedule_id: int) -> datetime:
    """Skip the next due time that is not skipped yet; gives that time. Raises Conflict if there is none, NotFound."""
    schedule, moment = service.get_locked(schedule_id), now()
    if not comes_due(schedule):
        raise Conflict("This schedule has no upcoming run to skip.")
    skipped = skipped_ahead([schedule.id], moment).get(schedule.id, set())
    ahead = [due.utc for due in schedule.due_times(moment, MAX_SKIPPED) if due.utc not in skipped]
    if not ahead:
        raise Conflict("This schedule has no further run to skip.")
    due_at = ahead[0]
    made = skip_due(
        schedule_id=schedule.id,
        name=schedule.name,
        version=schedule.row.version,
        task=schedule.row.task,
        due_at=due_at,
        reason=f"skipped in advance by {service.author()}",
        now=moment,
    )
    if not made:
        raise Conflict("This run has already come due. Reload the page.")
    audit.record(db.session, "schedule.skip", "schedule", schedule.id, schedule.name, None, {"due_at": due_at})
    db.session.commit()
    sending.tell_pages([made])
    return due_at


def unskip(schedule_id: int) -> int:
    """Undo all skips of coming due times; gives how many there were. Raises NotFound."""
    schedule = service.get(schedule_id)
    gone = unskip_due(schedule.id, now())
    if gone:
        before = {"skipped": len(gone)}
        audit.record(db.session, "schedule.unskip", "schedule", schedule.id, schedule.name, before, None)
    db.session.commit()
    sending.tell_pages(gone)
    return len(gone)


def withdrawn_text(saved: Sequence[Stored]) -> str:
    """A sentence about the skips that edits withdrew; empty if there are none."""
    found = [(one, due) for one in saved for due in one.withdrawn]
    if not found:
        return ""
    texts = [f"“{one.name}” {due.astimezone(zone(one.timezone)):%Y-%m-%d %H:%M} {one.timezone}" for one, due in found]
    if len(texts) > MAX_LISTED:
        texts[MAX_LISTED:] = [f"{len(texts) - MAX_LISTED} more"]
    reason = "these times are" if len(found) > 1 else "this time is"
    return f"{plural(len(found), 'skip')} withdrawn, because {reason} no longer due: {', '.join(texts)}."


def arguments(schedule: Stored, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The given arguments, else the schedule's own, with secrets decrypted. Raises Invalid at their fields.

    A mask in the given arguments stands for the schedule's own value at this place.
    """
    sent_as_fields = forms.sent_as_fields(given)
    given, errors = with_call({**given, "task": schedule.row.task}, schedule.snapshot)
    if errors:
        raise Invalid(errors)
    read = read_values(OtherArguments, given)
    own = _own_call(schedule, needed=read.args is None or read.kwargs is None)
    try:
        args, kwargs = Input(rule_for(schedule.row.task), schedule.row.task, own).read(
            read.args or [], read.kwargs or {}
        )
    except Refused as error:
        raise Invalid(error.by_argument(forms.PREFIX) if sent_as_fields else error.by_field()) from error
    plain = own.plain if own else ([], {})
    return plain[0] if read.args is None else args, plain[1] if read.kwargs is None else kwargs


def _own_call(schedule: Stored, *, needed: bool) -> Concealed | None:
    """The schedule's arguments, decrypted; None if that is impossible. Raises Invalid then if they are `needed`."""
    for name, kind, words in (("args", list, "list"), ("kwargs", dict, "object")):
        if not isinstance(schedule.snapshot[name], kind):
            if needed:
                raise Invalid({name: f"The stored value of the schedule is not a JSON {words}."})
            return None
    try:
        return opened(schedule.snapshot)
    except Unopenable as error:
        if needed:
            raise Invalid({"args": f"It cannot run: {error}. Enter the secret arguments again."}) from error
        return None


def message_options(schedule: Stored) -> dict[str, Any]:
    """Exchange, routing key and headers of its messages. Pages cannot set them; other programs' rows may have them."""
    row = schedule.row
    options: dict[str, Any] = {name: getattr(row, name) for name in ("exchange", "routing_key") if getattr(row, name)}
    try:
        headers = json.loads(row.headers or "{}")
    except ValueError:
        headers = {}
    if headers and isinstance(headers, dict):
        options["headers"] = sealed(headers, rule_for)
    return options
