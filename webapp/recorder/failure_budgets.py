"""Failure budgets: a schedule that fails so often in a row is paused, and it is told; and when it works again, too.

Whoever writes the ends of runs calls `look` in the same transaction: the recorder for each batch, a worker that writes
by itself, beat when it gives a run up. Without failures, and with no schedule that was paused for them, that costs one
look into an index that is empty.

1. Of the runs that succeeded, find schedules that their failures had paused and that somebody resumed: they recovered.
2. Of the runs that failed, find schedules with a budget; lock their rows, so that two recorders count one after the
   other.
3. Where the newest ends since the last resuming are failures, as many as the budget, pause the schedule.
4. Write the audit's row and a message to each administrator. The leading beat sends it, as everything that is unsent.

What was skipped, missed, revoked or expired did not fail, and does not count. No Flask here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from webapp.database.engine import now
from webapp.identity.models import Role, User
from webapp.mail_store import outbox
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.stored import DETAILS, TASKS
from webapp.schedule_store.writing import Writer

MAX_ERROR_LENGTH = 200
_PAUSED, _RECOVERED = "schedule_paused", "schedule_recovered"


def enforce(connection: sa.Connection, failed: Sequence[str], succeeded: Sequence[str]) -> bool:
    """Look after the schedules of runs that have just ended. Whether one was paused: beat should hear of it."""
    moment = now()
    if succeeded:
        _recover(connection, succeeded, moment)
    if not failed:
        return False
    owners = sa.select(Run.schedule_id).where(Run.id.in_(failed), Run.state == RunState.FAILED)
    paused = [_pause(connection, row, moment) for row in _locked(connection, owners, DETAILS.c.failure_budget)]
    return any(paused)


def _locked(connection: sa.Connection, owners: Any, column: sa.Column[Any]) -> list[Any]:
    """The enabled schedules of `owners` that have something in a column and are not paused, in order, locked."""
    query = (
        sa.select(TASKS.c.id, TASKS.c.name, DETAILS.c.failure_budget, DETAILS.c.failures_from)
        .join(TASKS, TASKS.c.id == DETAILS.c.schedule_id)
        .where(DETAILS.c.schedule_id.in_(owners), column.is_not(None))
        .where(TASKS.c.enabled.is_(True), sa.or_(DETAILS.c.paused_at.is_(None), DETAILS.c.paused_until <= now()))
        .order_by(DETAILS.c.schedule_id)
        .with_for_update(of=DETAILS)
    )
    return list(connection.execute(query))


def _pause(connection: sa.Connection, row: Any, moment: datetime) -> bool:
    ends = sa.select(Run.state, Run.error).where(
        Run.schedule_id == row.id, Run.state.in_([RunState.SUCCEEDED, RunState.FAILED])
    )
    if row.failures_from is not None:
        ends = ends.where(Run.ended_at > row.failures_from)
    newest = list(connection.execute(ends.order_by(Run.created_at.desc(), Run.id.desc()).limit(row.failure_budget)))
    if len(newest) < row.failure_budget or any(end.state != RunState.FAILED for end in newest):
        return False
    error = ((newest[0].error or "").strip().splitlines() or ["no reason was recorded"])[0][:MAX_ERROR_LENGTH]
    many = "1 failure" if row.failure_budget == 1 else f"{row.failure_budget} consecutive failures"
    with _writer(connection, moment) as writer:
        writer.pause(row, f"{many}: {error}")
        _add_mails(writer, _PAUSED, row, {"failures": many, "error": error})
    return True


def _recover(connection: sa.Connection, succeeded: Sequence[str], moment: datetime) -> None:
    failing = list(
        connection.execute(sa.select(DETAILS.c.schedule_id).where(DETAILS.c.failing_since.is_not(None))).scalars()
    )
    if not failing:
        return
    owners = sa.select(Run.schedule_id).where(
        Run.id.in_(succeeded), Run.state == RunState.SUCCEEDED, Run.schedule_id.in_(failing)
    )
    for row in _locked(connection, owners, DETAILS.c.failing_since):
        with _writer(connection, moment) as writer:
            writer.recover(row)
            _add_mails(writer, _RECOVERED, row, {})


@contextmanager
def _writer(connection: sa.Connection, moment: datetime) -> Iterator[Writer]:
    """Writes as part of the connection's transaction: it stays when the session is closed."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        yield Writer(session, "", moment, actor="system")
        session.flush()


def _add_mails(writer: Writer, kind: str, row: Any, context: dict[str, Any]) -> None:
    """A message to each administrator, and the run that will send it."""
    about = {"schedule": row.name, "schedule_id": row.id, **context}
    admins = sa.select(User).where(User.roles.any(Role.name == "admin"), User.active.is_(True)).order_by(User.id)
    for admin in writer.session.scalars(admins).all():
        key = f"{kind}:{row.id}:{writer.now:%Y-%m-%dT%H:%M:%S.%f}:{admin.id}"
        outbox.enqueue(writer.session, key=key, kind=kind, user=admin, context=about)
