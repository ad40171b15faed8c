"""New messages in the mail ledger, each with the run that will send it, in the caller's transaction. No Flask here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from webapp.identity.models import User
from webapp.mail_store.models import Mail
from webapp.run_store.creation import new_run
from webapp.run_store.models import Run
from webapp.run_store.states import Origin

SEND_TASK = "mail.send_mail"

AnySession = Session | scoped_session[Any]


def add(
    session: AnySession, *, key: str, kind: str, user: User, context: Mapping[str, Any], origin: Origin
) -> tuple[Mail, Run] | None:
    """Add a message and its run; None when there is one with that key already."""
    mail = Mail(
        key=key,
        kind=kind,
        user_id=user.id,
        recipient=user.email,
        recipient_name=user.name,
        context=json.dumps(dict(context)),
    )
    try:
        with session.begin_nested():
            session.add(mail)
    except sa.exc.IntegrityError:
        return None
    return mail, add_run(session, mail, origin=origin)


def add_run(
    session: AnySession, mail: Mail, *, origin: Origin, eta: datetime | None = None, retry_of: str | None = None
) -> Run:
    """Add the run that will send a message; the message knows it."""
    run = new_run(SEND_TASK, [mail.id], origin=origin, eta=eta, retry_of=retry_of)
    session.add(run)
    mail.run_id = run.id
    return run
