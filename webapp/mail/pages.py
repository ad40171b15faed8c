"""Queries of the mail pages."""

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


def messages(state: str, search: str) -> sa.Select[Any]:
    """The query for messages; `search` matches the beginning of the address or the key."""
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
    """The last 20 runs that tried to send a message, newest first; each links the one before it."""
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
    """The person of an unsubscribe link. Raises NotFound for an invalid link."""
    subscription = unsubscribe.read_token(current_settings().secret_key, token)
    if subscription is None:
        raise NotFound("This link is not valid or has expired.")
    person = db.session.get(User, subscription.user_id)
    if person is None:
        raise NotFound("This link belongs to an account that was deleted.")
    return person
