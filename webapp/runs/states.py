"""The states of a run, and which may follow which."""

from __future__ import annotations

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
    SKIPPED = "skipped"
    MISSED = "missed"


# An ended run stays as it ended; whatever arrives later is late news.
ENDED = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.REVOKED, RunState.EXPIRED, RunState.SKIPPED, RunState.MISSED}
)
WAITING = frozenset({RunState.HELD, RunState.QUEUED})
ACTIVE = frozenset({RunState.STARTED, RunState.RETRYING})
UNENDED = WAITING | ACTIVE

# Within one attempt a run only moves up.
RANK: dict[RunState, int] = {
    RunState.HELD: 0,
    RunState.QUEUED: 1,
    RunState.STARTED: 2,
    RunState.RETRYING: 3,
} | dict.fromkeys(ENDED, 4)


class Origin(StrEnum):
    """Who asked for a run."""

    SCHEDULE = "schedule"
    LAUNCH = "launch"
    RETRY = "retry"
    REGISTRATION = "registration"
    TASK = "task"
    COMMAND = "command"
