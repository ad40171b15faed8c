"""Failure budgets: pauses a schedule after N consecutive failures; emails admins then, and when it has recovered.

Every writer of the ends of runs calls `enforce` in the same transaction: the recorder for each batch, a worker that
writes to the database itself, beat when it fails a run. Without failures, and with no schedule that was paused for
them, that costs one lookup in an empty index.

1. Of the runs that succeeded, find schedules that were paused for failures and resumed since: they have recovered.
2. Of the runs that failed, find schedules with a budget; lock their rows, so that two recorders count one after the
   other.
3. If the last runs since the schedule was resumed have all failed, as many as the budget, pause it.
4. Write the audit's row and an email to each admin. The leading beat sends it, like every unsent one.

Skipped, missed, revoked and expired runs are not failures and do not count. No Flask here.
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
from webapp.schedule_store.rows import DETAILS, TASKS
from webapp.schedule_store.writing import Writer

MAX_ERROR_LENGTH = 200
_PAUSED, _RECOVERED = "schedule_paused", "schedule_recovered"


def enforce(connection: sa.Connection, failed: Sequence[str], succeeded: Sequence[str]) -> bool:
    """Pause or recover the schedules of runs that have just ended; gives whether beat has to be woken."""
    moment = now()
    if succeeded:
        _recover(connection, succeeded, moment)
    if not failed:
        return False
    owners = sa.select(Run.schedule_id).where(Run.id.in_(failed), Run.state == RunState.FAILED)
    paused = [_pause(connection, row, moment) for row in _locked(connection, owners, DETAILS.c.failure_budget)]
    return any(paused)


def _locked(connection: sa.Connection, owners: Any, column: sa.Column[Any]) -> list[Any]:
    """The enabled, unpaused schedules of `owners` with a value in a column, in order, locked."""
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
    failing = connection.scalars(sa.select(DETAILS.c.schedule_id).where(DETAILS.c.failing_since.is_not(None))).all()
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
    """A writer within the connection's transaction, which stays open when the session is closed."""
    with Session(connection, join_transaction_mode="rollback_only") as session:
        yield Writer(session, "", moment, actor="system")
        session.flush()


def _add_mails(writer: Writer, kind: str, row: Any, context: dict[str, Any]) -> None:
    """Add an email to each admin, and the run that will send it."""
    about = {"schedule": row.name, "schedule_id": row.id, **context}
    admins = sa.select(User).where(User.roles.any(Role.name == "admin"), User.active.is_(True)).order_by(User.id)
    for admin in writer.session.scalars(admins).all():
        key = f"{kind}:{row.id}:{writer.now:%Y-%m-%dT%H:%M:%S.%f}:{admin.id}"
        outbox.enqueue(writer.session, key=key, kind=kind, user=admin, context=about)
