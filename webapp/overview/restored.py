"""The sign that a backup of the database was restored."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.overview.sign import Sign
from webapp.run_store.models import Run
from webapp.run_store.states import RESTORED, RunState
from webapp.schedule_store.models import SchedulePause
from webapp.web.formats import plural


def restored() -> Iterator[Sign]:
    """A backup was restored, and what may have happened since waits for decisions."""
    restored_at = db.session.scalar(
        sa.select(sa.func.max(SchedulePause.ends_at)).where(SchedulePause.reason == RESTORED)
    )
    # Nearly always. Other projects' workers may leave very many unconfirmed runs, and this is asked every second.
    if restored_at is None:
        return
    unconfirmed = (Run.state == RunState.UNCONFIRMED, Run.reason == RESTORED, Run.created_at <= restored_at)
    doubtful = (Mail.state == MailState.IN_DOUBT, Mail.error == RESTORED)
    runs, mails = (
        db.session.scalar(sa.select(sa.func.count()).where(*found)) or 0 for found in (unconfirmed, doubtful)
    )
    if not runs and not mails:
        return
    parts = [plural(count, one) for count, one in ((runs, "run"), (mails, "email")) if count]
    yield Sign(
        "restored",
        f"The database was restored from a backup. {' and '.join(parts)} from before may have been executed or sent "
        "since.",
        "None of them is repeated automatically. Mark each as done, or retry it. Due times since then were skipped.",
        severity="warning",
        since=restored_at,
        since_text="Noticed:",
        link=("/runs?state=unconfirmed", "Show runs") if runs else ("/mail?state=in+doubt", "Show emails"),
    )
