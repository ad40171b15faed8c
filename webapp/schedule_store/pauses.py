"""Pauses of everything, of tags or of one schedule, and which one holds at a moment. Pure; moments are aware."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple

from webapp.schedule_store.models import Misfire, Resume


class Pause(NamedTuple):
    """A pause, or a change window that is planned: from `starts_at` to before `ends_at` (None: until it is ended).

    No `tags` means everything. With a `schedule_id` it is one schedule's own pause, which has ended and is only to be
    caught up. `caught_up_to` is the last schedule that was.
    """

    id: int
    tags: frozenset[str]
    reason: str
    author: str
    starts_at: datetime
    ends_at: datetime | None
    on_resume: Resume = Resume.SKIP
    schedule_id: int | None = None
    caught_up_to: int = 0

    @property
    def text(self) -> str:
        """The reason given at runs that it kept from firing."""
        return pause_text(self.reason, self.author)

    def holds(self, moment: datetime) -> bool:
        """Whether it is on at a moment."""
        return self.schedule_id is None and self.starts_at <= moment and not self.over(moment)

    def over(self, moment: datetime) -> bool:
        """Whether it has ended by then."""
        return self.ends_at is not None and self.ends_at <= moment

    def concerns(self, tags: Collection[str]) -> bool:
        """Whether it holds a schedule with these tags."""
        return self.schedule_id is None and (not self.tags or not self.tags.isdisjoint(tags))


def covering(pauses: Iterable[Pause], tags: Collection[str], moment: datetime) -> Pause | None:
    """The pause that keeps a schedule with these tags from firing at a moment, or None.

    Of several the one that ends last: what came due is decided about when no pause holds any more.
    """
    held: Pause | None = None
    for pause in pauses:
        if pause.holds(moment) and pause.concerns(tags) and (held is None or _outlasts(pause, held)):
            held = pause
    return held


def spans(pauses: Iterable[Pause], tags: Collection[str]) -> list[tuple[float, float]]:
    """When pauses keep schedules with these tags from firing: from and to before, in epoch seconds."""
    return [
        (pause.starts_at.timestamp(), inf if pause.ends_at is None else pause.ends_at.timestamp())
        for pause in pauses
        if pause.concerns(tags)
    ]


def _outlasts(pause: Pause, other: Pause) -> bool:
    if other.ends_at is None:
        return False
    return pause.ends_at is None or pause.ends_at > other.ends_at


def pause_text(reason: str, author: str) -> str:
    """Why nothing fires during a pause: "paused: REASON, by WHO"."""
    return "paused" + (f": {reason}" if reason else "") + (f", by {author}" if author else "")


def read_tags(text: str | None) -> tuple[str, ...]:
    """The tags in a JSON list; none when it is anything else."""
    try:
        found = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(tag for tag in found if isinstance(tag, str)) if isinstance(found, list) else ()


class Choice(NamedTuple):
    """How a schedule catches up after a pause: the pause's choice and the schedule's misfire policy."""

    on_resume: Resume
    misfire: str
    window: int


def due_times_to_catch_up(choice: Choice, dues: Sequence[float], ended: float) -> list[float]:
    """Which of a schedule's due times, in order and in epoch seconds, run after the pause that ended then.

    What came due after the end, before beat knew of it, always runs. A window reaches back from the end.
    """
    during = [due for due in dues if due < ended]
    after = [due for due in dues if due >= ended]
    within = [due for due in during if due >= ended - choice.window]
    match choice.on_resume, choice.misfire:
        case (Resume.ONCE, _):
            chosen = during[-1:]
        case (Resume.ALL, _) | (Resume.POLICY, Misfire.RUN_ALL):
            chosen = within
        case (Resume.POLICY, Misfire.RUN_ONCE):
            chosen = within[-1:]
        case _:
            chosen = []
    return chosen + after
