"""The counts of the front page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.messaging import broker
from webapp.recorder import rejected
from webapp.recorder.rejected import Rejected
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.list.listing import counted_by_state

PERIOD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts; `runs` has those of each state, in the order of a run's life, for runs created within `PERIOD`.

    `rejected` is the last state change within `PERIOD` that could not be recorded.
    """

    schedules: int
    enabled: int
    runs: tuple[tuple[RunState, int], ...]
    mails_in_doubt: int
    rejected: Rejected | None


def counts(now: datetime) -> Counts:
    """Count in a few queries that each use an index, however many runs are stored."""
    schedules, enabled = db.session.execute(
        sa.select(sa.func.count(), sa.func.count().filter(PeriodicTask.enabled)).select_from(PeriodicTask)
    ).one()
    # State by state, each by its index: with GROUP BY, SQLite would read all runs.
    by_state = counted_by_state(None, Run.created_at > now - PERIOD)
    in_doubt = db.session.scalar(sa.select(sa.func.count()).select_from(Mail).where(Mail.state == MailState.IN_DOUBT))
    last = broker.try_redis(lambda client: rejected.latest_since(client, PERIOD))
    return Counts(schedules, enabled, tuple(by_state.items()), in_doubt or 0, last)
