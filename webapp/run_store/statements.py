"""The statements on `runs` that many rows go through: marking sent, releasing, finding lost ones.

Core statements that take a connection; the caller owns the transaction. All moments are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from beatdesk.encoding import parse_json
from beatdesk.execution.canvas import REPLACEMENT
from webapp.database.dialects import Many, many, one_of
from webapp.database.engine import UtcDateTime, database_now
from webapp.liveness import CLAIM_TIMEOUT, WORKER_LOST_AFTER
from webapp.run_store.models import Run
from webapp.run_store.states import IDLE, UNENDED, RunState, in_sql
from webapp.run_store.worker_models import Worker

runs: sa.Table = Run.__table__  # type: ignore[assignment]  # a mapped class has a Table here, typed as FromClause
_MOMENT = UtcDateTime()
# A clock that is ahead by more than this is wrong.
AHEAD = timedelta(seconds=10)


class Sendable(NamedTuple):
    """What the message of a run is made of. `options` is JSON of exchange, routing_key and headers, or None.

    Where `sealed` is given, it holds the arguments to execute, and `args` and `kwargs` are masked. `sends` and `reason`
    say whether the message may be a further one, and whether a person asked for it.
    """

    id: str
    task: str
    args: str
    kwargs: str
    queue: str | None
    priority: int | None
    options: str | None
    expires_at: datetime | None
    attempt: int = 0
    parent_id: str | None = None
    root_id: str | None = None
    sealed: str | None = None
    sends: int = 0
    reason: str | None = None


class Target(NamedTuple):
    """What decides where a run's message goes: `options` where they name an exchange or a replacement, else None."""

    task: str
    queue: str | None
    options: str | None


# Names in a run's options that lead its message elsewhere than its task and its queue do.
_DIVERTING = ("exchange", "routing_key", REPLACEMENT)
# Targets in one statement; those of more are looked at one by one.
MAX_TARGETS = 50
# Begins the reason of a run that a person sent again.
SENT_AGAIN = "Sent again by "
# Begins the reason of a run whose message waits for its queue.
NOT_SENT = "Not sent: "


def target_of(run: Sendable) -> Target:
    """The target of a run: what holds of one run of a target, holds of all."""
    diverts = run.options is not None and any(name in run.options for name in _DIVERTING)
    return Target(run.task, run.queue, run.options if diverts else None)


_SENDABLE = [runs.c[name] for name in Sendable._fields]


class MadeUp(NamedTuple):
    """What becomes of a due time that fell into a pause, now that the pause is over."""

    b_schedule: int
    b_due: datetime
    state: str
    reason: str | None
    created_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None


def make_up_for(connection: sa.Connection, pause_id: int, made: Sequence[MadeUp]) -> list[Sendable]:
    """Give skipped runs of a pause their new states. Gives those that are to be sent."""
    if not made:
        return []
    statement = (
        sa.update(runs)
        .where(runs.c.schedule_id == sa.bindparam("b_schedule"), runs.c.due_at == sa.bindparam("b_due", type_=_MOMENT))
        .where(runs.c.pause_id == pause_id, runs.c.state == RunState.SKIPPED)
        .values({name: sa.bindparam(name, type_=runs.c[name].type) for name in MadeUp._fields[2:]})
    )
    connection.execute(statement, [one._asdict() for one in made])
    chosen = {one.b_schedule for one in made if one.state == RunState.QUEUED}
    # What this transaction queued bears its moment of creation.
    query = sa.select(*_SENDABLE).where(
        runs.c.pause_id == pause_id,
        runs.c.schedule_id.in_(chosen),
        runs.c.state == RunState.QUEUED,
        runs.c.created_at == made[0].created_at,
    )
    return [Sendable._make(row) for row in connection.execute(query)]


# It waits for its queue no more.
WITHOUT_NOT_SENT = f"CASE WHEN reason LIKE '{NOT_SENT}%' THEN NULL ELSE reason END"
_MARK_SENT = (
    sa.update(runs)
    .where(one_of(runs.c.id, sa.bindparam("ids", type_=Many())))
    .values(sent_at=sa.bindparam("now"), sends=runs.c.sends + 1, reason=sa.literal_column(WITHOUT_NOT_SENT))
)


def mark_sent(connection: sa.Connection, ids: Iterable[str], now: datetime) -> None:
    """Note that the broker confirmed the messages of these runs, whatever became of them since."""
    # In order, so that two who mark overlapping sets wait for each other instead of blocking each other.
    connection.execute(_MARK_SENT, {"now": now, "ids": sorted(ids)})


# Written as in the partial indexes, so that they are used whatever the planner knows of parameters.
_IS_HELD = sa.literal_column("state") == sa.literal_column("'held'")
_IS_QUEUED = sa.literal_column("state") == sa.literal_column("'queued'")


_ETAS = sa.select(runs.c.eta).where(_IS_HELD)
# Made once: beat asks it at each look.
_NEXT_HELD = sa.select(
    _ETAS.where(runs.c.eta.is_not(None)).order_by(runs.c.eta).limit(1).scalar_subquery(),
    sa.exists(_ETAS.where(runs.c.eta.is_(None))),
)


def next_held(connection: sa.Connection) -> tuple[datetime | None, bool]:
    """When the next held run is to be released, and whether one waits for the former run of its schedule to end."""
    row = connection.execute(_NEXT_HELD).one()
    return row[0], bool(row[1])


def release_held(connection: sa.Connection, now: datetime, limit: int) -> list[Sendable]:
    """Queue the held runs whose time has come, at most `limit`, and return those that were not sent yet.

    What a task has sent itself, with a countdown, has its message already. It is sent again where that does no harm,
    see `webapp.run_store.promise`: should the message be lost, recovery does it.
    """
    chosen = sa.select(runs.c.id).where(_IS_HELD, runs.c.eta <= now).order_by(runs.c.eta).limit(limit)
    return _requeue(connection, chosen)


def release_waiting_turn(connection: sa.Connection, limit: int) -> list[Sendable]:
    """Queue the runs that were held until the former runs of their schedule ended, if these have ended.

    Due times that came later do not hold them up: when the policy was changed meanwhile, they would wait for ever.
    """
    other = runs.alias("other")
    waits_too = sa.and_(other.c.state == RunState.HELD, other.c.eta.is_(None))
    earlier = sa.tuple_(other.c.created_at, other.c.id) < sa.tuple_(runs.c.created_at, runs.c.id)
    not_later = sa.or_(other.c.created_at <= runs.c.created_at, other.c.due_at.is_(None))
    busy = (
        sa.exists()
        .where(other.c.schedule_id == runs.c.schedule_id, other.c.id != runs.c.id)
        .where(sa.text(in_sql("other.state", UNENDED)))
        .where(sa.case((waits_too, earlier), else_=not_later))
    )
    chosen = sa.select(runs.c.id).where(_IS_HELD, runs.c.eta.is_(None), ~busy).limit(limit)
    return _requeue(connection, chosen)


def _requeue(connection: sa.Connection, chosen: sa.Select[Any]) -> list[Sendable]:
    statement = (
        sa.update(runs)
        # What another transaction has in hand, such as a cancellation, is left to it.
        .where(runs.c.id.in_(chosen.with_for_update(skip_locked=True)), _IS_HELD)
        .values(state=RunState.QUEUED)
        .returning(*_SENDABLE, runs.c.sent_at)
    )
    return [Sendable._make(row[:-1]) for row in connection.execute(statement) if row[-1] is None]


def unsent(
    connection: sa.Connection, created_before: datetime, limit: int, resting: Sequence[Target] = ()
) -> list[Sendable]:
    """Queued runs without a confirmed message that were created before a moment, oldest first.

    Not those of `resting` targets: many of them would leave no room for others. Also those from the future: they
    were created by a process with a wrong clock, so their age is unknown.
    """
    too_late = created_before + AHEAD
    statement = (
        sa.select(*_SENDABLE)
        .where(_IS_QUEUED, runs.c.sent_at.is_(None))
        .where(sa.or_(_queued_since() < created_before, _queued_since() > too_late))
        .where(*(~_goes_to(target) for target in resting[:MAX_TARGETS]))
        .order_by(runs.c.created_at)
        .limit(limit)
    )
    return [Sendable._make(row) for row in connection.execute(statement)]


def _goes_to(target: Target) -> sa.ColumnElement[bool]:
    if target.options is not None:
        options = runs.c.options == target.options
    else:
        options = sa.and_(*(~runs.c.options.contains(name, autoescape=True) for name in _DIVERTING))
        options = sa.or_(runs.c.options.is_(None), options)
    # Each is true or false, never unknown: what it excludes is the rest.
    queue = runs.c.queue.is_(None) if target.queue is None else sa.func.coalesce(runs.c.queue, "") == target.queue
    return sa.and_(runs.c.task == target.task, queue, sa.func.coalesce(options, sa.false()))


def note_undelivered(connection: sa.Connection, reasons: Mapping[Target, str]) -> list[str]:
    """Say at the queued, unsent runs of each target why they are not sent. Returns the ids of those that change."""
    noted: list[str] = []
    for target, why in reasons.items():
        text = f"{NOT_SENT}{why}"
        statement = (
            sa.update(runs)
            .where(_IS_QUEUED, runs.c.sent_at.is_(None), _goes_to(target), runs.c.reason.is_distinct_from(text))
            .values(reason=text)
            .returning(runs.c.id)
        )
        noted += connection.execute(statement).scalars()
    return noted


def _queued_since() -> sa.ColumnElement[Any]:
    """When a run became queued: at its creation, or when it was released."""
    return sa.case((runs.c.eta > runs.c.created_at, runs.c.eta), else_=runs.c.created_at)


class Sending(NamedTuple):
    """How a run's message was sent, and how often a worker has begun it."""

    run: Sendable
    sent_at: datetime
    sends: int
    claims: int


def sent_long_ago(
    connection: sa.Connection, guarded: sa.ColumnElement[bool], sent_before: datetime, limit: int
) -> list[Sending]:
    """Guarded queued runs whose message was sent before a moment, oldest first.

    Without those that a worker has taken and keeps for later.
    """
    kept = runs.c.claim_seen_at > database_now(connection, -CLAIM_TIMEOUT)
    statement = (
        sa.select(*_SENDABLE, runs.c.sent_at, runs.c.sends, runs.c.claims)
        .where(_IS_QUEUED, runs.c.sent_at < sent_before, kept.is_not(True), guarded)
        .order_by(runs.c.sent_at)
        .limit(limit)
    )
    return [Sending(Sendable._make(row[:-3]), *row[-3:]) for row in connection.execute(statement)]


def sent_in_vain(
    connection: sa.Connection, guarded: sa.ColumnElement[bool], sent_before: datetime, sends: int, limit: int
) -> list[Sending]:
    """Those that were sent at least so often, and that no worker has ever claimed."""
    never_claimed = sa.and_(guarded, runs.c.sends >= sends, runs.c.claims == 0)
    return sent_long_ago(connection, never_claimed, sent_before, limit)


def forget_sent(connection: sa.Connection, guarded: sa.ColumnElement[bool], sent_after: datetime | None) -> int:
    """Take the guarded queued runs that were sent after a moment, or ever, for unsent. Returns how many.

    For when the broker has lost them. Of the runs that wait for their next attempt too, each of which is sent as that
    one: should its message be there all the same, whichever comes second is a duplicate.
    """
    statement = sa.update(runs).where(_IS_QUEUED, runs.c.sent_at.is_not(None), guarded).values(sent_at=None)
    if sent_after is not None:
        statement = statement.where(runs.c.sent_at >= sent_after)
    retrying = sa.update(runs).where(sa.literal_column("state") == sa.literal_column("'retrying'"), guarded)
    again = {"state": RunState.QUEUED, "sent_at": None, "attempt": runs.c.attempt + 1, "claimed_by": None}
    return connection.execute(statement).rowcount + connection.execute(retrying.values(**again)).rowcount


def expire_unsent(connection: sa.Connection, now: datetime) -> list[str]:
    """End queued runs without a confirmed message whose time to begin is over. Returns their ids."""
    statement = (
        sa.update(runs)
        .where(_IS_QUEUED, runs.c.sent_at.is_(None), runs.c.expires_at <= now)
        .values(state=RunState.EXPIRED, ended_at=now, reason="expired before it could be sent")
        .returning(runs.c.id)
    )
    return list(connection.execute(statement).scalars())


class Unended(NamedTuple):
    """A run of a schedule that has not ended."""

    id: str
    schedule_id: int
    state: str
    eta: datetime | None
    due_at: datetime | None


def unended_of(connection: sa.Connection, schedule_ids: Sequence[int]) -> list[Unended]:
    """The runs of these schedules that have not ended."""
    columns = (runs.c[name] for name in Unended._fields)
    chosen = one_of(runs.c.schedule_id, many(schedule_ids))
    statement = sa.select(*columns).where(chosen, sa.text(in_sql("state", UNENDED)))
    return [Unended._make(row) for row in connection.execute(statement)]


def revoke_idle(connection: sa.Connection, ids: Sequence[str], reason: str, now: datetime) -> set[str]:
    """End runs that no worker executes. Returns the ids of those it ended: a worker may have begun one meanwhile."""
    statement = (
        sa.update(runs)
        .where(one_of(runs.c.id, many(ids)), runs.c.state.in_(sorted(IDLE)))
        .values(state=RunState.REVOKED, reason=reason, ended_at=now)
        .returning(runs.c.id)
    )
    return set(connection.execute(statement).scalars())


def forget_these(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Take these runs for unsent, if they still wait."""
    connection.execute(sa.update(runs).where(one_of(runs.c.id, many(ids)), _IS_QUEUED).values(sent_at=None))


def newest_sent(connection: sa.Connection) -> datetime | None:
    """When the message of a run that still waits was last sent."""
    return connection.execute(sa.select(sa.func.max(runs.c.sent_at, type_=UtcDateTime)).where(_IS_QUEUED)).scalar()


class LostClaim(NamedTuple):
    """A run that a worker began which is gone; `late_tasks` of that worker, as in its row."""

    run: Sendable
    claims: int
    worker: str | None
    sent_at: datetime | None
    late_tasks: str | None

    @property
    def acknowledged_late(self) -> bool:
        """Whether its message was acknowledged only after the task, so that the task may be executed again."""
        return self.late_tasks is None or self.run.task in parse_json(self.late_tasks, [])


def lost_claims(connection: sa.Connection, now: datetime, limit: int) -> list[LostClaim]:
    """Started runs whose claim has run out, and whose worker is lost or has stopped."""
    gone = sa.or_(Worker.id.is_(None), ~Worker.alive(now, WORKER_LOST_AFTER))
    statement = (
        sa.select(*_SENDABLE, *(runs.c[name] for name in LostClaim._fields[1:-1]), Worker.late_tasks)
        .select_from(runs.outerjoin(Worker, Worker.id == runs.c.claimed_by))
        .where(sa.literal_column("state") == sa.literal_column("'started'"), gone)
        .where(runs.c.claim_seen_at < now - CLAIM_TIMEOUT)
        .limit(limit)
    )
    return [LostClaim(Sendable._make(row[:-4]), *row[-4:]) for row in connection.execute(statement)]


def begin_again(connection: sa.Connection, ids: Sequence[str], reason: str) -> None:
    """Queue runs whose worker is gone; their next message may be claimed by another one."""
    chosen = (runs.c.id.in_(ids), runs.c.state == RunState.STARTED)
    fresh = {"state": RunState.QUEUED, "reason": reason, "sent_at": None, "claimed_by": None, "claim_seen_at": None}
    connection.execute(sa.update(runs).where(*chosen).values(**fresh))


def give_up(connection: sa.Connection, run_id: str, state: RunState, error: str, now: datetime) -> None:
    """Fail a run that is still in a state, and is not sent again."""
    chosen = (runs.c.id == run_id, runs.c.state == state)
    connection.execute(sa.update(runs).where(*chosen).values(state=RunState.FAILED, error=error, ended_at=now))


NEVER_CLAIMED = "NeverClaimed: it was sent {sends} times, its queue is empty, and no worker claimed it"


def fail_never_claimed(connection: sa.Connection, lost: Iterable[Sending], now: datetime) -> None:
    """Fail queued runs that were sent often enough."""
    for one in lost:
        give_up(connection, one.run.id, RunState.QUEUED, NEVER_CLAIMED.format(sends=one.sends), now)


def fail_unsendable(connection: sa.Connection, reasons: Mapping[str, str], now: datetime) -> list[str]:
    """Fail queued runs whose messages cannot be made, or are refused by the broker. Returns the ids of those failed."""
    failed: list[str] = []
    for run_id, reason in reasons.items():
        statement = sa.update(runs).where(runs.c.id == run_id, _IS_QUEUED)
        # Of a run that is only observed the sending was noted before.
        sends = sa.case((runs.c.sent_at.is_(None), runs.c.sends), else_=runs.c.sends - 1)
        ended = {"state": RunState.FAILED, "error": f"Unsendable: {reason}", "ended_at": now}
        failing = statement.values(**ended, sent_at=None, sends=sends)
        if connection.execute(failing).rowcount:
            failed.append(run_id)
    return failed
