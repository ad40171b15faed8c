"""The claim: a worker takes a run before it executes it, so that a message delivered twice is executed once.

It guards what Beatdesk sent. What other programs sent is recorded and never refused, except for a message that the
broker delivers once more; a task id that they send again is a run of its own.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from beatdesk.execution.canvas import replaced_by
from beatdesk.execution.host import Delivery
from beatdesk.execution.ids import external_id, had_row, id_of_task, repeated_id
from webapp.database.dialects import DriverStatement
from webapp.database.engine import database_now
from webapp.liveness import CLAIM_TIMEOUT
from webapp.run_store.creation import NewRun, insert
from webapp.run_store.models import Run
from webapp.run_store.states import UNENDED, UNSETTLED, Origin, RunState, in_sql

# A run that takes its worker down each time fails after so many attempts to execute it.
MAX_CLAIMS = 4


def _take(only_where: str = "") -> DriverStatement:
    text = (
        f"UPDATE runs SET state = '{RunState.STARTED}', claimed_by = {{worker_id}}, claim_seen_at = {{now}}, "  # noqa: S608  # constants of this program
        "claims = claims + 1, attempt = {attempt}, worker = {worker}, "
        "started_at = COALESCE(started_at, {at}), sent_at = COALESCE(sent_at, {at}), ended_at = NULL, "
        f"reason = CASE WHEN state <> '{RunState.UNCONFIRMED}' THEN reason END "
        f"WHERE id = {{run_id}} AND {in_sql('state', UNSETTLED)} {only_where}"
        f"AND (expires_at IS NULL OR expires_at > {{now}}) AND claims < {MAX_CLAIMS} + {{attempt}} "
        "AND (claimed_by IS NULL OR claimed_by = {handed_over} OR attempt < {attempt} "
        "OR claim_seen_at < {ago}) RETURNING claims"
    )
    return DriverStatement(text, _TAKES, CLAIM_TIMEOUT)


_TAKES = ("run_id", "attempt", "worker_id", "worker", "handed_over", "at")
_TAKE = _take()
# A task id that another program sends again is another run: the row that has begun is not taken again.
_TAKE_NEW = _take("AND started_at IS NULL ")


class Verdict(Enum):
    """The outcome of an attempt to claim."""

    CLAIMED = "claimed"
    CLAIMED_AGAIN = "claimed again"
    DUPLICATE = "duplicate"
    ENDED = "ended"
    EXPIRED = "expired"
    LOST_TOO_OFTEN = "lost too often"


def claim_external(engine: sa.Engine, delivery: Delivery, at: datetime) -> tuple[Verdict, str]:
    """Claim the run of a message that another program sent; gives the id of the run that it turns out to be.

    It is not refused, unless it was delivered before.

    1. A message that continues a run (a retry, a replacement), or is delivered once more, belongs to the last run of
       its task id that has not ended, and is claimed like any other.
    2. Any other is a run of its own: with the row that it got when it was received, or a new one. Where a message of
       that id was begun before, the row has an id derived from when it was received.
    """
    if delivery.goes_on:
        with engine.begin() as connection:
            delivery = replace(delivery, run_id=_going_on(connection, delivery))
            return claim(connection, delivery, at), delivery.run_id
    row = _TAKE_NEW.first_row(engine, _given(delivery, at))
    if row is not None:
        return _claimed(row[0], delivery), delivery.run_id
    with engine.begin() as connection:
        known = connection.execute(_STATE, {"id": delivery.run_id}).one_or_none()
        if known is not None and _is_cancelled(known, delivery):
            return Verdict.ENDED, delivery.run_id
        # A row of ours with the message's id is that message's: versions before this did not name runs in messages.
        if known is not None and known.origin == Origin.PROGRAM:
            delivery = replace(delivery, run_id=repeated_id(delivery.task_id, delivery.received))
        return claim(connection, delivery, at), delivery.run_id


_STATE = sa.select(Run.state, Run.started_at, Run.ended_at, Run.origin).where(Run.id == sa.bindparam("id"))


def _is_cancelled(known: Any, delivery: Delivery) -> bool:
    """Whether this very message was ended before it began: by a person, or because it expired."""
    if known.started_at is not None or known.ended_at is None:
        return False
    received = datetime.fromtimestamp(delivery.received, UTC) if delivery.received is not None else None
    return received is None or known.ended_at >= received


def _going_on(connection: sa.Connection, delivery: Delivery) -> str:
    """The run that a message of a task id goes on with: the newest that has not ended, else the first."""
    candidates = sa.select(Run.id, Run.claimed_by).where(_has(delivery.task_id), Run.state.in_(sorted(UNSETTLED)))
    rows = connection.execute(candidates.order_by(Run.created_at.desc(), Run.id)).all()
    handed = [row.id for row in rows if delivery.replaced and row.claimed_by == _handed_over(delivery.replaced)]
    return str(next(iter([*handed, *(row.id for row in rows)]), delivery.run_id))


def claim(connection: sa.Connection, delivery: Delivery, at: datetime) -> Verdict:
    """Take the run for this worker, or say why not. Commits nothing itself.

    `at` is this worker's time, for what is shown. What decides goes by the database's clock: a worker whose own is an
    hour ahead must not take every other worker for dead.

    1. Take it with one conditional UPDATE: it has not ended, has not expired, was not begun too often, and no living
       worker has it; or it is a later attempt than the one that was claimed, or the replacement of that one.
       CLAIMED_AGAIN means that this attempt was begun before, by a worker that is gone: its end may be in the stream
       and not be recorded yet.
    2. If no row changed, look why. A run that has no row was sent by another program, or by a task: it gets its row
       now, already claimed. Unless its id says that it had one: then it ended, and was deleted since.
    """
    taken = _TAKE.scalar(connection, _given(delivery, at))
    return _why_not(connection, delivery, at) if taken is None else _claimed(taken, delivery)


def claim_by_itself(engine: sa.Engine, delivery: Delivery, at: datetime) -> Verdict:
    """The same in a transaction of its own, which nearly always is the one statement.

    That goes past SQLAlchemy, which costs more than the statement does. Raises its errors nevertheless.
    """
    row = _TAKE.first_row(engine, _given(delivery, at))
    if row is not None:
        return _claimed(row[0], delivery)
    with engine.begin() as connection:
        return claim(connection, delivery, at)


def _given(delivery: Delivery, at: datetime) -> dict[str, Any]:
    handed_over = _handed_over(delivery.replaced)
    values = (delivery.run_id, delivery.attempt, delivery.worker_id, delivery.worker, handed_over, at)
    return dict(zip(_TAKES, values, strict=True))


def _claimed(claims: int, delivery: Delivery) -> Verdict:
    return Verdict.CLAIMED_AGAIN if claims > 1 + delivery.attempt else Verdict.CLAIMED


def _why_not(connection: sa.Connection, delivery: Delivery, at: datetime) -> Verdict:
    row = connection.execute(
        sa.select(
            Run.state,
            Run.claims,
            Run.attempt,
            Run.claimed_by,
            (Run.expires_at <= database_now(connection)).label("expired"),
        ).where(Run.id == delivery.run_id)
    ).one_or_none()
    if row is None:
        # A row that ended long ago may be deleted while a message of it still lies in some queue.
        return Verdict.ENDED if had_row(delivery.run_id) else _adopt(connection, delivery, at)
    if row.state not in UNSETTLED:
        return Verdict.ENDED
    if row.expired:
        _end(connection, delivery.run_id, RunState.EXPIRED, at, reason="Expired before a worker was free")
        return Verdict.EXPIRED
    if row.claims >= MAX_CLAIMS + delivery.attempt:
        message = f"WorkerLost: its worker was lost {row.claims} times"
        _end(connection, delivery.run_id, RunState.FAILED, at, error=message)
        return Verdict.LOST_TOO_OFTEN
    if row.claimed_by is None:
        # The recorder has made the row since it was looked for.
        return claim(connection, delivery, at)
    return Verdict.DUPLICATE


def _adopt(connection: sa.Connection, delivery: Delivery, at: datetime) -> Verdict:
    adopted = NewRun(
        delivery.run_id,
        delivery.task,
        RunState.STARTED,
        Origin.TASK if delivery.parent_id else Origin.PROGRAM,
        at,
        delivery.args,
        delivery.kwargs,
        delivery.sealed,
        delivery.queue,
        options=delivery.options,
        parent_id=delivery.parent_id,
        root_id=delivery.root_id,
        group_id=delivery.group_id,
        group_index=delivery.group_index,
        external_id=delivery.external_id,
        sent_at=at,
        started_at=at,
        attempt=delivery.attempt,
        claims=1,
        claimed_by=delivery.worker_id,
        worker=delivery.worker,
    )
    if insert(connection, [adopted]):
        return Verdict.CLAIMED
    # The recorder, or another worker, has just made the row: it is claimed like any other.
    return claim(connection, delivery, at)


def _handed_over(replaced: int) -> str:
    """The claimer of a run that waits for its replacement; any other message of its id stays a duplicate."""
    return f"replaced {replaced} times"


def hand_over(  # noqa: PLR0917  # who, to whom, and why
    connection: sa.Connection,
    run_id: str,
    worker_id: str,
    reason: str,
    replaced: int,
    replacement: str | None,
    at: datetime,
) -> None:
    """Leave the run to a later message with its id, as a task does that replaces itself. Commits nothing itself.

    By a task, it is queued again and keeps what that message says: should the broker lose it, beat sends it again. By a
    chain or a chord it stays started, and is not taken for lost meanwhile: only the last of its messages, which is yet
    to be made, has its id.
    """
    mine = (Run.id == run_id, Run.claimed_by == worker_id, Run.state == RunState.STARTED)
    values: dict[str, Any] = {"claimed_by": _handed_over(replaced), "claim_seen_at": None, "claims": 1, "attempt": 0}
    if replacement is not None:
        options = replaced_by(replacement, connection.scalar(sa.select(Run.options).where(*mine)))
        values |= {"state": RunState.QUEUED, "sent_at": at, "sends": 1, "options": options}
        queue = json.loads(replacement).get("options", {}).get("queue")
        if queue:
            # The promise of a run depends on the queue of its message.
            values["queue"] = str(queue["name"] if isinstance(queue, dict) else queue)
    connection.execute(sa.update(Run).where(*mine).values(**values, reason=reason))


def give_back(connection: sa.Connection, run_id: str, worker_id: str, reason: str) -> None:
    """Queue a run whose task gave its message back to the broker, which delivers it again. Commits nothing itself."""
    mine = (Run.id == run_id, Run.claimed_by == worker_id, Run.state == RunState.STARTED)
    fresh = {"state": RunState.QUEUED, "claimed_by": None, "claim_seen_at": None, "claims": Run.claims - 1}
    connection.execute(sa.update(Run).where(*mine).values(**fresh, reason=reason))


def executed_here(connection: sa.Connection, task_id: str, worker_id: str) -> tuple[str, int] | None:
    """The run of a task id that this worker has begun, and its attempt; for events of its main process."""
    mine = (_has(task_id), Run.claimed_by == worker_id, Run.state == RunState.STARTED)
    row = connection.execute(sa.select(Run.id, Run.attempt).where(*mine).order_by(Run.started_at.desc())).first()
    return None if row is None else (row.id, row.attempt)


def _has(task_id: str) -> sa.ColumnElement[bool]:
    """The runs of a task id."""
    return sa.or_(Run.id == id_of_task(task_id), Run.external_id == external_id(task_id))


def _end(connection: sa.Connection, run_id: str, state: RunState, at: datetime, **values: str) -> None:
    connection.execute(
        sa.update(Run).where(Run.id == run_id, Run.state.in_(UNSETTLED)).values(state=state, ended_at=at, **values)
    )


def renew(connection: sa.Connection, task_ids: list[str], worker_id: str) -> None:
    """Renew this worker's claims of the runs of these messages."""
    if task_ids:
        connection.execute(
            sa.update(Run)
            .where(sa.or_(Run.id.in_(task_ids), Run.external_id.in_(task_ids)))
            .where(Run.claimed_by == worker_id, Run.state.in_(UNENDED))
            .values(claim_seen_at=database_now(connection))
        )


def renew_waiting(connection: sa.Connection, run_ids: list[str]) -> None:
    """Note that these runs wait in a worker that will begin them."""
    if run_ids:
        known = sa.or_(Run.claim_seen_at.is_(None), Run.claim_seen_at < database_now(connection, -CLAIM_TIMEOUT / 3))
        connection.execute(
            sa.update(Run)
            .where(Run.id.in_(run_ids), Run.state == RunState.QUEUED, Run.claimed_by.is_(None), known)
            .values(claim_seen_at=database_now(connection))
        )
