"""Actions on runs: launch, cancel, retry, confirm. Each adds one row to the audit, in the same transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import own_tasks, refusals
from webapp.identity.audit import record
from webapp.messaging import broker
from webapp.run_store import sending
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.statements import SENT_AGAIN
from webapp.run_store.states import IDLE, UNENDED, Origin, RunState
from webapp.run_store.worker_models import Worker
from webapp.runs import service
from webapp.web.errors import Conflict, Invalid

CANCELLABLE_STATES = sorted(IDLE)
# The reason of a run whose worker was asked to terminate it, and the audit's entry for it.
CANCEL_REQUESTED = "Cancellation requested"
TERMINATION_REQUESTED = {"asked": "to terminate while it runs"}
# Pools that can terminate one task without stopping the worker.
TERMINATING_POOLS = frozenset({"prefork", "gevent", "eventlet"})


class Cancelled(Enum):
    """The outcome of cancelling a run."""

    AT_ONCE = "The run is cancelled and will not start."
    REQUESTED = "The worker was asked to terminate the run. Celery does not guarantee it; this page shows the result."
    UNSUPPORTED = (
        "The worker's pool cannot terminate a running task. The run continues to its end; "
        "restarting the worker is the only way to stop it."
    )


def launch(
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    person: int | None = None,
    origin: Origin = Origin.LAUNCH,
    repeated: bool = False,
    **options: Any,
) -> Run:
    """Check, create, audit, commit and send one run. `options` are those of `creation.create_run`.

    `repeated` is as for `service.check_call`. Raises Invalid at `task`, `args`, `queue` or `expires`, and Forbidden;
    refusals are audited too.
    """
    kwargs = dict(kwargs or {})
    own_tasks.require(task, kind="run", name=task)
    try:
        service.check_call(task, args, kwargs, options.get("queue"), repeated=repeated)
        _check_expiry(options)
    except Invalid as error:
        refusals.record("run.refuse", ("run", "", task), str(error))
        raise
    run = create_run(db.session, task, args, kwargs, origin=origin, created_by=person, **options)
    action = "run.retry" if origin is Origin.RETRY else "run.launch"
    record(db.session, action, "run", run.id, task, None, _audit_values(run))
    db.session.commit()
    service.send_runs([run])
    return run


def outcome(run: Run, done: str) -> tuple[str, str]:
    """The message for the person who launched a run, and its category: a run may have failed at once."""
    return (f"The run failed: {run.error}", "danger") if run.state == RunState.FAILED else (done, "success")


def retry(run: Run, *, person: int | None) -> Run:
    """Launch the same call as a new run that names the first one. Raises Conflict while that has not ended."""
    if not run.ended:
        raise Conflict(f"This run is {run.state}; only a run that has ended can be retried.")
    args, kwargs = service.call_of(run)
    return launch(
        run.task,
        args,
        kwargs,
        person=person,
        origin=Origin.RETRY,
        repeated=True,
        retry_of=run.id,
        queue=run.queue,
        priority=run.priority,
    )


def confirm(run: Run, *, name: str) -> None:
    """Mark an unconfirmed run as succeeded. Raises Conflict for a run in another state."""
    values = {"state": RunState.SUCCEEDED, "reason": f"Marked as succeeded by {name}", "ended_at": now()}
    # As for any run that succeeded, its secret arguments are not kept.
    _settle(run, "run.confirm", {**values, "sealed": None})
    sending.tell_pages([run.id])


def send_again(run: Run, *, name: str) -> None:
    """Queue an unconfirmed run once more, under its id. It may be executed twice, which the page has said.

    Raises Conflict for a run in another state, and for one that would expire before it could begin; Forbidden.
    """
    own_tasks.require(run.task, kind="run", number=run.id, name=run.task)
    if run.expires_at is not None and run.expires_at <= now():
        raise Conflict("This run has expired, so no worker would start it. Retry it instead.")
    values = {"state": RunState.QUEUED, "reason": f"{SENT_AGAIN}{name}", "sent_at": None, "ended_at": None}
    _settle(run, "run.send_again", values)
    db.session.refresh(run)
    # No transaction is open while the broker is used.
    db.session.commit()
    service.send_runs([run])


def _settle(run: Run, action: str, values: Mapping[str, Any]) -> None:
    statement = sa.update(Run).where(Run.id == run.id, Run.state == RunState.UNCONFIRMED).values(**values)
    if not _update(statement):
        raise Conflict(f"This run is {run.state}; only an unconfirmed run can be marked as succeeded or sent again.")
    record(db.session, action, "run", run.id, run.task, {"state": run.state}, {"state": values["state"]})
    db.session.commit()


def cancel(run: Run) -> Cancelled:
    """End a run that waits, or ask the worker to terminate one that has started.

    Raises Conflict for a run that has ended, BrokerAway if the worker of a started one cannot be reached.
    """
    before = run.state
    if end_waiting([run.id], now()):
        record(db.session, "run.cancel", "run", run.id, run.task, {"state": before}, {"state": RunState.REVOKED})
        db.session.commit()
        sending.tell_pages([run.id])
        # Have the workers discard the message; one that receives it all the same finds that the run has ended.
        with suppress(broker.BrokerAway):
            broker.revoke(run.id, terminate=False)
        return Cancelled.AT_ONCE
    return _ask_worker(run)


def end_waiting(run_ids: Sequence[str], at: datetime) -> list[tuple[str, str]]:
    """End those of these runs that wait; gives id and task of each. Commits nothing."""
    waiting = sa.update(Run).where(Run.id.in_(run_ids), Run.state.in_(CANCELLABLE_STATES))
    return _update(waiting.values(state=RunState.REVOKED, ended_at=at, reason="Cancelled before it started"))


def request_termination(run_ids: Sequence[str]) -> list[tuple[str, str]]:
    """Mark those of these runs that have not ended as to be terminated; gives id and task of each. Commits nothing."""
    unended = sa.update(Run).where(Run.id.in_(run_ids), Run.state.in_(sorted(UNENDED)))
    return _update(unended.where(Run.reason.is_distinct_from(CANCEL_REQUESTED)).values(reason=CANCEL_REQUESTED))


def _ask_worker(run: Run) -> Cancelled:
    before = {"state": run.state}
    if request_termination([run.id]):
        record(db.session, "run.cancel", "run", run.id, run.task, before, TERMINATION_REQUESTED)
    elif db.session.scalar(sa.select(Run.id).where(Run.id == run.id, Run.state.in_(sorted(UNENDED)))) is None:
        raise Conflict("This run has already ended.")
    # Sent again where it was requested before: the worker may have missed it.
    pool = db.session.scalar(sa.select(Worker.pool).where(Worker.id == run.claimed_by))
    db.session.commit()
    sending.tell_pages([run.id])
    broker.revoke(run.id, terminate=True)
    return Cancelled.REQUESTED if pool is None or pool in TERMINATING_POOLS else Cancelled.UNSUPPORTED


def _update(statement: sa.Update) -> list[tuple[str, str]]:
    """The id and task of each row that the UPDATE changed.

    It bypasses the session, whose objects would overwrite what a worker has changed meanwhile.
    """
    returning = statement.returning(Run.id, Run.task)
    rows = db.session.execute(returning, execution_options={"synchronize_session": False})
    return [(row.id, row.task) for row in rows]


def _check_expiry(options: Mapping[str, Any]) -> None:
    expires_at = options.get("expires_at")
    if expires_at is not None and expires_at <= max(now(), options.get("eta") or now()):
        raise Invalid({"expires": "The run would expire before it could start."})


def _audit_values(run: Run) -> dict[str, Any]:
    values = {
        "task": run.task,
        "args": json.loads(run.args),
        "kwargs": json.loads(run.kwargs),
        "queue": run.queue,
        "priority": run.priority,
        "eta": run.eta,
        "expires_at": run.expires_at,
        "retry_of": run.retry_of,
    }
    return {name: value for name, value in values.items() if value not in (None, [], {})}
