"""The lease of the leading beat, in the database, on the database's clock, with a token that fences former leaders.

1. Take: `UPDATE beat_lease … WHERE it is free, ran out, or is mine RETURNING token`; each taking raises the token.
2. Keep: renew it every second, for three seconds; only with the token that was taken.
3. Prove: the transaction that creates runs reads the lease's row under a lock and goes on only with the same token. A
   leader that was stopped and continued finds another token there and commits nothing.
4. Give back at a graceful stop, so that the next one leads at once.

Leading only saves work. That no run is created twice rests on the unique (schedule, due time) of `runs`.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from webapp.database.engine import now_sql
from webapp.liveness import LEASE_DURATION
from webapp.schedule_store.beat_models import BeatLease
from webapp.scheduler.clock import Clock

_PROVE = (
    sa.select(sa.literal(1))
    .where(BeatLease.id == 1, BeatLease.holder == sa.bindparam("mine"), BeatLease.token == sa.bindparam("proof"))
    .with_for_update(read=True)
)


class LeaseLost(Exception):
    """Another beat leads, or may lead: what was about to be written or sent must not be."""


class Lease:
    """This process's view of the lease. `holder` is its id in `beats`."""

    def __init__(self, holder: str, clock: Clock, ttl: float = LEASE_DURATION) -> None:
        self.holder = holder
        self._duration = timedelta(seconds=ttl)
        self.token: int | None = None
        self._clock = clock
        self._renewed = float("-inf")

    @property
    def held(self) -> bool:
        """Whether this process leads, as far as it knows."""
        return self.token is not None

    def fresh(self) -> bool:
        """Whether no other beat can have taken the lease yet. Asks no database: call it right before publishing."""
        return self.token is not None and self._clock.monotonic() - self._renewed < self._duration.total_seconds()

    def take(self, connection: sa.Connection) -> bool:
        """Take the lease if it is free. Gives whether this process leads now. Call it in a transaction of its own."""
        asked = self._clock.monotonic()
        now, end, far = (now_sql(connection, times * self._duration) for times in range(3))
        # A lease that runs out later than any lease can was written before the clock was set back: it counts as run
        # out.
        statement = sa.text(
            f"UPDATE beat_lease SET holder = :holder, token = token + 1, expires_at = {end} "  # noqa: S608 - constants of this file
            f"WHERE id = 1 AND (holder IS NULL OR holder = :holder OR expires_at IS NULL OR expires_at < {now} "
            f"OR expires_at > {far}) RETURNING token"
        )
        token = connection.execute(statement, {"holder": self.holder}).scalar()
        if token is None:
            return False
        self.token, self._renewed = int(token), asked
        return True

    def renew(self, connection: sa.Connection) -> bool:
        """Keep the lease for its whole duration. False, and not leading any more, when another beat has it."""
        asked = self._clock.monotonic()
        statement = sa.text(
            f"UPDATE beat_lease SET expires_at = {now_sql(connection, self._duration)} "  # noqa: S608 - constants of this file
            "WHERE id = 1 AND holder = :holder AND token = :token"
        )
        if connection.execute(statement, {"holder": self.holder, "token": self.token}).rowcount != 1:
            self.token = None
            return False
        self._renewed = asked
        return True

    def prove(self, connection: sa.Connection) -> None:
        """Make sure that no other beat takes the lease before this transaction ends. Raises LeaseLost when one has."""
        if connection.execute(_PROVE, {"mine": self.holder, "proof": self.token}).scalar() is None:
            self.token = None
            raise LeaseLost

    def count_missed(self, connection: sa.Connection, more: int) -> None:
        """Add to the number of due times that were missed, for monitors; the number outlives their rows."""
        if more:
            connection.execute(sa.text("UPDATE beat_lease SET missed = missed + :more WHERE id = 1"), {"more": more})

    def give_back(self, connection: sa.Connection) -> None:
        """Let another beat lead at once. The row keeps when that was: since then no beat leads."""
        statement = sa.text(
            f"UPDATE beat_lease SET holder = NULL, expires_at = {now_sql(connection)} "  # noqa: S608 - constants of this file
            "WHERE id = 1 AND holder = :holder AND token = :token"
        )
        connection.execute(statement, {"holder": self.holder, "token": self.token})
        self.token = None
