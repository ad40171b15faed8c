"""Sends each message of the table of mails once.

1. `outbox.enqueue` inserts the message and the run that will send it, in the transaction of their cause.
2. The run calls `deliver`: it claims the row by an UPDATE, sends the message, and stores the outcome.
3. A message that was certainly not sent is retried by a later run; one that may have been sent is left in doubt, for a
   person to decide.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping
from typing import Any, cast

import sqlalchemy as sa
from flask import current_app

from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit, recovery
from webapp.identity.models import User
from webapp.mail import pages, rendering, unsubscribe
from webapp.mail.errors import InDoubt, MailError, NotHandedOver, Refused
from webapp.mail.gateway import Gateway, retry_delay
from webapp.mail.greeting import greeting_name
from webapp.mail.message import OutgoingMail
from webapp.mail_store import outbox
from webapp.mail_store.models import Mail, MailState, SuppressedAddress
from webapp.run_store.models import Run
from webapp.run_store.states import Origin
from webapp.runs.service import send_runs
from webapp.web.errors import Conflict, NotFound
from webapp.web.hosts import current_settings

# Replaces the token of a link on pages: only the recipient may see the real one.
HIDDEN_TOKEN = "hidden"
# Kinds that can be unsubscribed.
OPTIONAL_KINDS = frozenset({"birthday"})
# The values that every message gets from its row and the settings, whatever its kind.
COMMON_VALUES = frozenset({"site_name", "site_url", "sign_in_url", "reset_url", "name", "unsubscribe_url"})


def deliver(mail_id: int, run_id: str) -> str:
    """Send one message now; gives the outcome in words. Called by the task, in the run that the message names.

    Raises MailError if it was not sent, after storing that and scheduling the next attempt.
    """
    claimed = _claim(mail_id, run_id)
    if isinstance(claimed, str):
        return claimed
    try:
        outgoing = compose(claimed, _private_values(claimed))
        message_id = gateway().send(outgoing)
    except MailError as error:
        _not_sent(claimed, error)
        raise
    except Exception as error:
        # A fault in the wording, or the task's time limit before anything was sent.
        _not_sent(claimed, NotHandedOver(f"{type(error).__name__}: {error}", notice=True))
        raise
    _end(claimed, MailState.SENT, message_id=message_id, subject=outgoing.subject[:255], error=None)
    db.session.commit()
    return f"sent to {claimed.recipient}"


def _claim(mail_id: int, run_id: str) -> Mail | str:
    """Claim a pending message for this run; gives a text with the reason if it cannot be sent."""
    taken = db.session.execute(
        sa.update(Mail)
        .where(Mail.id == mail_id, Mail.run_id == run_id, Mail.state == MailState.PENDING)
        .values(state=MailState.SENDING, claimed_at=now(), attempts=Mail.attempts + 1),
        execution_options={"synchronize_session": False},
    )
    mail = db.session.get(Mail, mail_id, populate_existing=True)
    if mail is None:
        db.session.rollback()
        return "not sent: the email was deleted"
    if taken.rowcount == 0:  # type: ignore[attr-defined]  # an UPDATE has one
        return _unclaimable(mail, run_id)
    if db.session.get(SuppressedAddress, mail.recipient) is not None:
        _end(mail, MailState.SUPPRESSED, error="The address is unsubscribed or suppressed")
        db.session.commit()
        return "not sent: the address is suppressed"
    db.session.commit()
    return mail


def _unclaimable(mail: Mail, run_id: str) -> str:
    """The reason why a message cannot be claimed. If this run was sending it before, it is in doubt: raises InDoubt."""
    if mail.state == MailState.SENDING and mail.run_id == run_id:
        _end(mail, MailState.IN_DOUBT, error="The worker was lost while it sent this email")
        db.session.commit()
        raise InDoubt("The worker was lost while it sent this email; it is not sent again automatically")
    state = mail.state
    db.session.rollback()
    return f"not sent: the email is {state} already"


def _not_sent(mail: Mail, error: MailError) -> None:
    """Store why a message was not sent, and schedule the next attempt if there is one."""
    text = str(error)
    runs: list[Run] = []
    if isinstance(error, InDoubt):
        _end(mail, MailState.IN_DOUBT, error=text)
    elif isinstance(error, Refused) and error.address_refused:
        _end(mail, MailState.SUPPRESSED, error=text)
        db.session.merge(SuppressedAddress(address=mail.recipient, reason=text))
    elif isinstance(error, Refused):
        _end(mail, MailState.FAILED, error=text)
    else:
        runs = _schedule_retry(mail, text)
    db.session.commit()
    send_runs(runs)


def _schedule_retry(mail: Mail, text: str) -> list[Run]:
    """Add the run of the next attempt; without another attempt the message has failed."""
    delay = retry_delay(max(mail.attempts, 1), random.Random())
    if delay is None:
        _end(mail, MailState.FAILED, error=f"Failed after {mail.attempts} attempts. {text}")
        return []
    mail.state = MailState.PENDING
    mail.error = text
    mail.next_attempt_at = now() + delay
    return [outbox.add_run(db.session, mail, origin=Origin.RETRY, eta=mail.next_attempt_at, retry_of=mail.run_id)]


def _end(mail: Mail, state: MailState, **values: str | None) -> None:
    mail.state = state
    mail.ended_at = now()
    mail.next_attempt_at = None
    for name, value in values.items():
        setattr(mail, name, value)


def send_again(mail_id: int) -> Mail:
    """Send a message again that is in doubt or failed, as a person decided. Raises NotFound, Conflict."""
    mail = get_mail(mail_id, locked=True)
    if mail.state not in (MailState.IN_DOUBT, MailState.FAILED):
        raise Conflict(f"This email is {mail.state}; only emails that failed or are in doubt can be sent again.")
    before = mail.state
    mail.state = MailState.PENDING
    mail.ended_at = None
    run = outbox.add_run(db.session, mail, origin=Origin.RETRY, retry_of=mail.run_id)
    _audit("mail.send again", mail, before)
    db.session.commit()
    send_runs([run])
    return mail


def settle(mail_id: int) -> Mail:
    """Mark a message in doubt as sent, as a person decided. Raises NotFound, Conflict."""
    mail = get_mail(mail_id, locked=True)
    if mail.state != MailState.IN_DOUBT:
        raise Conflict(f"This email is {mail.state}, not in doubt.")
    before = mail.state
    _end(mail, MailState.SENT, error=None)
    _audit("mail.settle", mail, before)
    db.session.commit()
    return mail


def send_example(kind: str, user: User) -> Mail:
    """Send one kind of mail, with example values, to a user."""
    example = {name: value for name, value in rendering.KINDS[kind].example.items() if name not in COMMON_VALUES}
    key = f"example:{kind}:{user.id}:{secrets.token_hex(8)}"
    added = outbox.enqueue(db.session, key=key, kind=kind, user=user, context=example, origin=Origin.LAUNCH)
    if added is None:
        raise Conflict("This email exists already.")
    mail, run = added
    audit.record(db.session, "mail.send example", "mail", mail.id, mail.key)
    db.session.commit()
    send_runs([run])
    return mail


def unsubscribe_person(token: str) -> User:
    """Unsubscribe the person of a link from birthday mails. Raises NotFound for an invalid link."""
    person = pages.subscriber(token)
    wanted = sa.update(User).where(User.id == person.id, User.wants_birthday_mail)
    done = db.session.execute(wanted.values(wants_birthday_mail=False))
    if cast("sa.CursorResult[Any]", done).rowcount:
        before, after = {"wants_birthday_mail": True}, {"wants_birthday_mail": False, "by": "a link in an email"}
        # Without a sign-in, the person who got the link is the one who acts.
        actor = audit.signed_in() or person
        audit.record(db.session, "person.unsubscribe", "person", person.id, person.name, before, after, actor=actor)
    db.session.commit()
    return person


def _audit(action: str, mail: Mail, before: str) -> None:
    audit.record(db.session, action, "mail", mail.id, mail.key, {"state": before}, {"state": mail.state})


def get_mail(mail_id: int, *, locked: bool = False) -> Mail:
    """One message; `locked` to change it. Raises NotFound."""
    mail = db.session.get(Mail, mail_id, with_for_update=locked or None)
    if mail is None:
        raise NotFound(f"There is no email {mail_id}.")
    return mail


def compose(mail: Mail, private: Mapping[str, str] | None = None) -> OutgoingMail:
    """The message as it is sent, rendered from its wording.

    `private` are values for the recipient only, such as a link to reset the password. Without them, as for pages, the
    links in the message do not work.
    """
    settings = current_settings()
    link = unsubscribe_url(settings, mail.user_id, mail.kind)
    if link and private is None:
        link = f"{settings.public_url}/unsubscribe/{HIDDEN_TOKEN}"
    name = greeting_name(mail.recipient_name)
    subject, text, html = rendering.render(
        mail.kind,
        common_context(settings)
        | {"name": name, "unsubscribe_url": link}
        | json.loads(mail.context)
        | dict(private or {}),
        current_app.jinja_env,
    )
    return OutgoingMail(
        key=mail.key,
        recipient=mail.recipient,
        recipient_name=name,
        subject=subject,
        text=text,
        html=html,
        headers=unsubscribe.unsubscribe_headers(link) if link else {},
    )


def _private_values(mail: Mail) -> dict[str, str]:
    """Links with secret tokens: made when the message is sent, and not stored."""
    made = {
        "password_reset": ("choose_url", recovery.reset_url),
        "welcome": ("confirm_url", recovery.confirm_url),
        "confirm_address": ("confirm_url", recovery.confirm_url),
    }.get(mail.kind)
    user = db.session.get(User, mail.user_id) if made is not None and mail.user_id else None
    return {} if made is None or user is None else {made[0]: made[1](user, current_settings())}


def common_context(settings: Settings) -> dict[str, Any]:
    """The values that every wording may use."""
    return {
        "site_name": "Beatdesk",
        "site_url": settings.public_url,
        "sign_in_url": f"{settings.public_url}/login",
        "reset_url": f"{settings.public_url}/reset",
        # Pages on which a link can be requested; when a message is sent, the links themselves replace them.
        "choose_url": f"{settings.public_url}/reset",
        "confirm_url": f"{settings.public_url}/confirm",
    }


def unsubscribe_url(settings: Settings, user_id: int | None, kind: str) -> str | None:
    """The unsubscribe link of one kind of mail to one person; None for kinds that cannot be unsubscribed."""
    if user_id is None or kind not in OPTIONAL_KINDS:
        return None
    token = unsubscribe.make_token(settings.secret_key, user_id, kind)
    return f"{settings.public_url}/unsubscribe/{token}"


def gateway() -> Gateway:
    """This process's gateway, created on first use."""
    made: Gateway | None = current_app.extensions.get("gateway")
    if made is None:
        settings = current_settings()
        made = current_app.extensions["gateway"] = Gateway(settings.mail, settings.secret_key)
    return made
