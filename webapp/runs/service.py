"""Runs for pages and commands: checking a call, sending runs, reading their arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from beatdesk.secrecy import masking
from beatdesk.secrecy.masking import Concealed, conceal
from beatdesk.secrecy.sealing import Unopenable
from webapp.database.engine import now
from webapp.database.reads import reading
from webapp.extensions import db
from webapp.messaging import broker
from webapp.messaging.beat_wakeup import wake
from webapp.queue_names import refusal
from webapp.recorder import failure_budgets
from webapp.run_store import observed, promise, sending, statements
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable
from webapp.run_store.states import RunState
from webapp.runs.call.arguments import call_faults
from webapp.secrecy.masked_input import Input, Refused
from webapp.task_catalogue.registry import find_task, rule_for
from webapp.web.errors import Conflict, Invalid, NotFound


def send_runs(runs: Sequence[Run]) -> None:
    """Publish queued runs, wake beat for held ones, notify live pages. After the commit; never raises.

    A run that the broker does not take keeps `sent_at` empty, and the leading beat sends it. One that cannot be sent
    fails. Observed runs are marked as sent before they are published (see `promise`).
    """
    queued = [run for run in runs if run.state == RunState.QUEUED]
    once = _observed(queued)
    sent = sending.publish([run for run in queued if run.id not in once])
    if sent:
        # By a statement, because a worker may have claimed a run meanwhile, and the object would overwrite its state.
        sent_at = sa.func.coalesce(Run.sent_at, now(), type_=Run.sent_at.type)
        db.session.execute(
            sa.update(Run).where(Run.id.in_(sent)).values(sent_at=sent_at, sends=Run.sends + 1),
            execution_options={"synchronize_session": False},
        )
        db.session.commit()
    unsendable = sent.unsendable | _send_once([run for run in queued if run.id in once], once)
    paused = False
    if unsendable:
        connection = db.session.connection()
        failed = statements.fail_unsendable(connection, unsendable, now())
        paused = failure_budgets.enforce(connection, failed, [])
        db.session.commit()
        for run in queued:
            if run.id in failed:
                # For the page that shows it next.
                db.session.refresh(run)
    if paused or len(queued) < len(runs):
        broker.try_redis(lambda redis: wake(redis, "held"))
    sending.tell_pages([run.id for run in runs])


def _observed(runs: Sequence[Run]) -> dict[str, str | None]:
    """The queue of each run that is only observed."""
    if not runs:
        return {}
    # On a connection of its own: no transaction is open while the broker is used.
    with reading(db.engine) as connection:
        consumers = promise.load(connection)
    queues = {run.id: sending.queue_of_run(run) for run in runs}
    return {
        run_id: queue
        for run_id, queue in queues.items()
        if promise.promise(queue, None, consumers) is promise.Promise.OBSERVED
    }


def _send_once(runs: Sequence[Run], queues: Mapping[str, str | None]) -> dict[str, str]:
    """Publish each of these runs at most once; gives the reasons of those that cannot be sent, by id."""
    if not runs:
        return {}
    noted_at = now()

    def note() -> set[str]:
        noted = observed.note_sending(db.session.connection(), queues, noted_at)
        db.session.commit()
        return noted

    given = [Sendable(*(getattr(run, name) for name in Sendable._fields)) for run in runs]
    untouched, unsendable = sending.publish_once(given, note)
    if untouched:
        observed.take_back(db.session.connection(), untouched, noted_at)
        db.session.commit()
    return unsendable


def check_call(
    task: str, args: Sequence[Any], kwargs: Mapping[str, Any], queue: str | None = None, *, repeated: bool = False
) -> None:
    """Check a call before it is launched. Raises Invalid at `task`, `args`, `kwargs` or `queue`.

    With `repeated` its arguments need not fit the task's types: those of the first run were not checked either.
    """
    known = find_task(task)
    if known is None:
        raise Invalid({"task": f"There is no registered task “{task}”."})
    if reason := known.refuse(args, kwargs):
        raise Invalid({"args": reason})
    try:
        Input(known.rule, task).read(args, kwargs)
    except Refused as error:
        raise Invalid({"args": str(error)}) from error
    if not repeated and (faults := call_faults(known, args, kwargs)):
        raise Invalid(faults)
    if queue and (reason := refusal(queue)):
        raise Invalid({"queue": reason})


def call_of(run: Run) -> tuple[list[Any], dict[str, Any]]:
    """The arguments for launching a run again. Raises Conflict where they cannot be read or were deleted."""
    try:
        args, kwargs = masking.call_of(run)
    except Unopenable as error:
        raise Conflict(f"This run cannot be retried: {error}. Retry it with other arguments.") from None
    except (ValueError, RecursionError):
        raise Conflict(
            "This run cannot be retried: its arguments cannot be read. Retry it with other arguments."
        ) from None
    if run.sealed is None and conceal(rule_for(run.task), args, kwargs).blank:
        raise Conflict(
            "The secret arguments of this run were deleted when it succeeded. Retry it with other arguments."
        )
    if run.sealed is None and masking.holds_mask((args, kwargs)):
        raise Conflict("The secret arguments of this run were not kept. Retry it with other arguments.")
    return args, kwargs


def kept_call(run: Run) -> Concealed | None:
    """The values behind the masks of a run, for a retry with other arguments; None if they were deleted."""
    try:
        return None if run.sealed is None else conceal(rule_for(run.task), *masking.call_of(run))
    except Unopenable:
        return None


def get_run(run_id: str) -> Run:
    """One run by its id. Raises NotFound."""
    run = db.session.get(Run, run_id)
    if run is None:
        raise NotFound(f"No run has the ID {run_id}.")
    return run
