"""Whether the last edit of a schedule is in force, by what the beats have stored about themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.extensions import db
from webapp.schedule_store.beat_models import Beat, alive_beats
from webapp.schedule_store.stored import Stored

# How long beat may take before an edit counts as unanswered, and how long its state is shown.
WAIT_TIMEOUT = timedelta(seconds=3)
NEWS_PERIOD = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class InForce:
    """`host` is where the edit is in force, `seconds` after it was made if that is known; else None."""

    host: str | None = None
    seconds: float | None = None
    waiting: bool = False

    @property
    def silent(self) -> bool:
        """Whether no beat has loaded the edit in the usual time."""
        return self.host is None and not self.waiting


def present_beats(now: datetime) -> Sequence[Beat]:
    """The beats that are online, the leader first."""
    return alive_beats(db.session, now)


def beats_for(schedules: Iterable[Stored], now: datetime) -> Sequence[Beat]:
    """The beats that are online, if one of these schedules was just edited; else empty, as no page shows them."""
    return present_beats(now) if any(is_news(schedule, now) for schedule in schedules) else []


def judge(schedule: Stored, beats: Sequence[Beat], now: datetime) -> InForce:
    """Whether the last edit of a schedule is in force in these beats."""
    if schedule.row.revision is None:
        return InForce()
    return judge_change(schedule.row.revision, schedule.row.changed_at, beats, now)


def judge_change(revision: int, changed_at: datetime, beats: Sequence[Beat], now: datetime) -> InForce:
    """Whether a change, an edit of a schedule or a pause, is in force in these beats."""
    beat = next((beat for beat in beats if beat.revision >= revision), None)
    if beat is None:
        return InForce(waiting=now - changed_at < WAIT_TIMEOUT)
    if beat.revision > revision or beat.applied_at is None:
        # What it stored last is about a later edit of another schedule.
        return InForce(beat.host)
    return InForce(beat.host, max(0.0, (beat.applied_at - changed_at).total_seconds()))


def is_news(schedule: Stored, now: datetime) -> bool:
    """Whether the last edit is so recent that its effect is shown."""
    return schedule.row.changed_at is not None and now - schedule.row.changed_at < NEWS_PERIOD
