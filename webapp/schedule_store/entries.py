"""A schedule as beat keeps it in memory: small, because there may be 100,000, with equal parts shared."""

from __future__ import annotations

from typing import NamedTuple

from webapp.recurrence import Recurrence, jitter_seconds, next_due_timestamp


class Target(NamedTuple):
    """Where the messages of a schedule or run go. `options` is JSON of exchange, routing_key and headers, or None."""

    task: str
    queue: str | None
    priority: int | None
    options: str | None


class Policy(NamedTuple):
    """What decides about a due time when it comes. Moments are epoch seconds, lengths are seconds."""

    misfire: str
    window: int
    overlap: str
    expire_seconds: int | None
    expires: float | None
    paused_from: float | None
    paused_until: float | None
    paused_as: str | None

    def paused(self, moment: float) -> bool:
        """Whether the schedule's own pause is on at that moment; `paused_as` is its text."""
        if self.paused_from is None or moment < self.paused_from:
            return False
        return self.paused_until is None or moment < self.paused_until


class Entry:
    """An enabled schedule that can fire. Made of its id and name; its target, args and kwargs; when; and its policy.

    `args` and `kwargs` are the raw JSON; where some of it is secret, they are masked and `sealed` holds the call.
    `next_due` is the next due time (epoch seconds, exact to the microsecond), None where there is none; `fires_at` adds
    its jitter. `done` counts the runs made, for the maximum. `generation` grows with each change of either, so that
    older places in the agenda are known to be void.
    """

    __slots__ = (
        "args",
        "done",
        "fires_at",
        "generation",
        "id",
        "kwargs",
        "name",
        "next_due",
        "policy",
        "recurrence",
        "revision",
        "sealed",
        "tags",
        "target",
        "version",
    )

    def __init__(
        self, schedule: tuple[int, str], call: tuple[Target, str, str], recurrence: Recurrence, policy: Policy
    ) -> None:
        self.id, self.name = schedule
        self.target, self.args, self.kwargs = call
        self.recurrence = recurrence
        self.policy = policy
        self.sealed: str | None = None
        self.tags: tuple[str, ...] = ()
        self.version = 1
        self.revision = 0
        self.done = 0
        self.generation = 0
        self.next_due: float | None = None
        self.fires_at = 0.0

    def following(self, after: float, done: int | None = None) -> float | None:
        """The first due time after a moment. `done` runs are taken as made, or as many as there were."""
        return next_due_timestamp(self.recurrence, after, self.done if done is None else done)

    def firing(self, due: float) -> float:
        """When the run of a due time is created: then, or a jitter later."""
        if self.recurrence.jitter <= 0:
            return due
        return due + jitter_seconds(self.recurrence, due)

    def expect(self, due: float | None) -> None:
        """Set the next due time."""
        self.next_due = due
        self.fires_at = 0.0 if due is None else self.firing(due)
        self.generation += 1
