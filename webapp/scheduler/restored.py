"""Notices that the database is an older one than beat has worked with, and holds back what may have happened since.

1. The leading beat keeps the token and the end of its lease in Redis, every few seconds. Both only grow.
2. A beat that begins to lead compares them with what the database held before. If the database is older, it was
   restored from a backup, and what happened after that is not in it.
3. Then nothing is repeated without being asked. Runs that may have been executed since become unconfirmed, their emails
   in doubt, and due times since are skipped, as in a pause of everything that has just ended. Persons decide on each.

Without Redis nothing can be compared; this is done once Redis is back.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import redis
import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.database.engine import UtcDateTime, database_now
from webapp.mail_store.models import Mail, MailState
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import RESTORED, RunState
from webapp.schedule_store.beat_models import BeatLease
from webapp.schedule_store.models import Resume, SchedulePause
from webapp.scheduler.leader import Lease

logger = get_logger(__name__)

KEY = "beatdesk:lease"
REMEMBER_SECONDS = 5.0
# The end of a lease is set back by its duration when it is given back.
SLACK = timedelta(seconds=10)
# How far back due times are skipped if the database does not know when a beat led last.
LONGEST = timedelta(days=366)
AUTHOR = "Beatdesk"


class Progress(NamedTuple):
    """How far the lease has come: its token, and the end of it."""

    token: int
    ends_at: datetime | None

    def older_than(self, other: Progress) -> bool:
        """Whether the other one was seen later in the life of the same database."""
        if self.token != other.token:
            return self.token < other.token
        if other.ends_at is None:
            return False
        return self.ends_at is None or self.ends_at < other.ends_at - SLACK


class RestoreCheck:
    """Compares the database with what Redis remembers of it. Without a Redis it does nothing."""

    def __init__(self, engine: sa.Engine, lease: Lease, redis_url: str | None) -> None:
        self._engine = engine
        self._lease = lease
        self._redis = None if redis_url is None else broker.connect(redis_url)
        # What the database said before this beat led, until it has been compared.
        self._before: Progress | None = None
        self._next = float("-inf")

    def look(self, connection: sa.Connection) -> None:
        """Keep what the database says, before the lease is taken."""
        self._before = _progress(connection)

    def compare(self) -> None:
        """Hold back what may repeat if the database is older than Redis remembers. Raises LeaseLost."""
        if self._redis is None or self._before is None:
            return
        try:
            known: Any = self._redis.get(KEY)
        except (redis.RedisError, OSError) as error:
            logger.warning("Whether the database was restored is compared later: %s", error)
            return
        if known is not None and self._before.older_than(_parsed(known)):
            with self._engine.begin() as connection:
                self._lease.prove(connection)
                held = hold(connection, self._before.ends_at)
            logger.warning("The database was restored from a backup; %s runs are unconfirmed.", held)
        # Only now: if the database was away meanwhile, this is done again.
        self._before = None

    def remember(self) -> None:
        """Keep how far the lease has come, every few seconds. Redis may be slow: not for beat's own thread."""
        if self._redis is None or time.monotonic() < self._next or not self._lease.fresh():
            return
        self._next = time.monotonic() + REMEMBER_SECONDS
        self.compare()
        if self._before is None:
            with self._engine.connect() as connection:
                token, ends_at = _progress(connection)
            if token == self._lease.token:
                text = json.dumps({"token": token, "ends_at": ends_at and ends_at.isoformat()})
                # The broker may be another server: that this Redis is away says nothing about it.
                with suppress(redis.RedisError, OSError):
                    self._redis.set(KEY, text)


def hold(connection: sa.Connection, since: datetime | None) -> int:
    """Hold back what may have happened since a moment. Gives how many runs; commits nothing itself."""
    now = connection.execute(sa.select(database_now(connection))).scalar_one()
    waiting = sa.and_(Run.state == RunState.HELD, Run.eta <= now)
    begun = Run.state.in_([RunState.QUEUED, RunState.STARTED, RunState.RETRYING])
    values = {"state": RunState.UNCONFIRMED, "reason": RESTORED, "ended_at": now, "claimed_by": None}
    held = connection.execute(sa.update(Run).where(sa.or_(waiting, begun)).values(**values)).rowcount
    doubtful = sa.select(Run.id).where(Run.state == RunState.UNCONFIRMED, Run.reason == RESTORED)
    connection.execute(
        sa.update(Mail)
        .where(Mail.state.in_([MailState.PENDING, MailState.SENDING]), Mail.run_id.in_(doubtful))
        .values(state=MailState.IN_DOUBT, error=RESTORED, ended_at=now, next_attempt_at=None)
    )
    connection.execute(
        sa.insert(SchedulePause).values(
            reason=RESTORED, author=AUTHOR, starts_at=since or now - LONGEST, ends_at=now, on_resume=Resume.SKIP
        )
    )
    return int(held)


def _progress(connection: sa.Connection) -> Progress:
    ends_at = sa.type_coerce(BeatLease.expires_at, UtcDateTime)
    row = connection.execute(sa.select(BeatLease.token, ends_at).where(BeatLease.id == 1)).one()
    return Progress(*row)


def _parsed(text: str) -> Progress:
    try:
        given = json.loads(text)
        ends_at = given["ends_at"]
        return Progress(int(given["token"]), None if ends_at is None else datetime.fromisoformat(ends_at))
    except (ValueError, TypeError, KeyError):
        logger.warning("%s cannot be read and is written again.", KEY)
        return Progress(0, None)
