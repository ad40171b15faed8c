"""What the mail pages read."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from webapp.extensions import db
from webapp.identity.models import User
from webapp.mail import unsubscribe
from webapp.mail_store.models import Mail, MailState
from webapp.run_store.models import Run
from webapp.web.errors import NotFound
from webapp.web.hosts import current_settings


def ledger(state: str, search: str) -> sa.Select[Any]:
    """The query for messages; `search` is the beginning of an address or of a key."""
    query = sa.select(Mail)
    if state in set(MailState):
        query = query.where(Mail.state == state)
    if search:
        begins = search.lower()
        query = query.where(
            sa.or_(
                Mail.recipient.startswith(begins, autoescape=True),
                Mail.key.startswith(begins, autoescape=True),
            )
        )
    return query


def attempts(mail: Mail) -> list[Run]:
    """The runs that tried to send a message, newest first; each names the one before it."""
    found: list[Run] = []
    next_id = mail.run_id
    while next_id is not None and len(found) < 20:
        run = db.session.get(Run, next_id)
        if run is None:
            break
        found.append(run)
        next_id = run.retry_of
    return found


def subscriber(token: str) -> User:
    """Whom an unsubscribe link stands for. Raises NotFound for a link that we did not make."""
    subscription = unsubscribe.read_token(current_settings().secret_key, token)
    if subscription is None:
        raise NotFound("This link is not valid or has expired.")
    person = db.session.get(User, subscription.user_id)
    if person is None:
        raise NotFound("This link belongs to an account that was deleted.")
    return person
