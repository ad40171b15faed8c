"""The sign that a backup of the database was restored."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.overview.sign import Sign
from webapp.run_store.models import Run
from webapp.run_store.states import RESTORED, RunState
from webapp.web.formats import plural


def restored() -> Iterator[Sign]:
    """A backup was restored, and what may have happened since waits for decisions."""
    unconfirmed = (Run.state == RunState.UNCONFIRMED, Run.reason == RESTORED)
    doubtful = (Mail.state == MailState.IN_DOUBT, Mail.error == RESTORED)
    runs = db.session.execute(sa.select(sa.func.count(), sa.func.max(Run.ended_at)).where(*unconfirmed)).one()
    mails = db.session.execute(sa.select(sa.func.count(), sa.func.max(Mail.ended_at)).where(*doubtful)).one()
    if not runs[0] and not mails[0]:
        return
    yield Sign(
        "restored",
        f"The database was restored from a backup. {plural(runs[0], 'run')} and {plural(mails[0], 'email')} from "
        "before may have been executed or sent since.",
        "None of them is repeated automatically. Mark each as done, or retry it. Due times since then were skipped.",
        severity="warning",
        since=max(filter(None, (runs[1], mails[1]))),
        since_text="Noticed:",
        link=("/runs?state=unconfirmed", "Show runs") if runs[0] else ("/mail?state=in+doubt", "Show emails"),
    )
