"""Adds messages to the table of mails, each with the run that sends it: the only place that inserts into `mails`.

Both belong to the caller's transaction. After its commit, pass the run to `webapp.runs.service.send_runs`; otherwise
the leading beat sends it. Needs no Flask application.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from webapp.identity.models import User
from webapp.mail_store.models import Mail
from webapp.run_store.creation import AnySession, create_run
from webapp.run_store.models import Run
from webapp.run_store.states import Origin

SEND_TASK = "mail.send_mail"


def enqueue(
    session: AnySession,
    *,
    key: str,
    kind: str,
    user: User,
    context: Mapping[str, Any] | None = None,
    origin: Origin = Origin.TASK,
    parent_id: str | None = None,
) -> tuple[Mail, Run] | None:
    """Add a message and its run, `parent_id` being the run that causes it; None if the key has a message already."""
    mail = Mail(
        key=key,
        kind=kind,
        user_id=user.id,
        recipient=user.email,
        recipient_name=user.name,
        context=json.dumps(dict(context or {})),
    )
    try:
        with session.begin_nested():
            session.add(mail)
    except sa.exc.IntegrityError:
        return None
    return mail, add_run(session, mail, origin=origin, parent_id=parent_id, root_id=parent_id)


def add_run(session: AnySession, mail: Mail, *, origin: Origin, **options: Any) -> Run:
    """Add the run that will send a message, and link it in the message. `options` are those of `create_run`."""
    run = create_run(session, SEND_TASK, [mail.id], origin=origin, **options)
    mail.run_id = run.id
    return run
