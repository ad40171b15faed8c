"""The states of a run, and where a run can come from."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class RunState(StrEnum):
    """What a run is doing, in the words that people see."""

    HELD = "held"
    QUEUED = "queued"
    STARTED = "started"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVOKED = "revoked"
    EXPIRED = "expired"
    # It was sent to a worker that reports nothing of its runs, and its end is unknown. Later news settles it.
    UNCONFIRMED = "unconfirmed"
    SKIPPED = "skipped"
    MISSED = "missed"


# An ended run stays as it ended; whatever arrives later is late news. Only an unconfirmed one is settled by it.
ENDED = frozenset(
    {
        RunState.SUCCEEDED,
        RunState.FAILED,
        RunState.REVOKED,
        RunState.EXPIRED,
        RunState.UNCONFIRMED,
        RunState.SKIPPED,
        RunState.MISSED,
    }
)
WAITING = frozenset({RunState.HELD, RunState.QUEUED})
ACTIVE = frozenset({RunState.STARTED, RunState.RETRYING})
UNENDED = WAITING | ACTIVE
# No worker executes a run in one of these: the database alone can end it. Between two attempts none has a claim.
IDLE = WAITING | {RunState.RETRYING}
# Later news may still move these.
UNSETTLED = UNENDED | {RunState.UNCONFIRMED}


def in_sql(column: str, states: Iterable[RunState]) -> str:
    """The condition that a column holds one of these states, for a statement that is written as text."""
    return f"{column} IN ({', '.join(repr(state.value) for state in sorted(states))})"


class Origin(StrEnum):
    """What caused a run. `PROGRAM`: another program than Beatdesk sent its message, and no task of ours did."""

    SCHEDULE = "schedule"
    LAUNCH = "launch"
    RETRY = "retry"
    REGISTRATION = "registration"
    TASK = "task"
    PROGRAM = "program"
    COMMAND = "command"


# Why a run is unconfirmed, or an email in doubt, after a backup was restored; see `webapp.scheduler.restored`.
RESTORED = "The database was restored from a backup; this may have happened since then"
