"""The SMTP gateway: the only code that sends mail.

`Gateway.send` returns once the server has accepted the mail, or raises one of three errors: `NotHandedOver` (try again
after `retry_delay`), `Refused` (never again), `InDoubt` (ask a person).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import random
import re
import smtplib
import socket
import ssl
from datetime import timedelta
from email.utils import parseaddr

from flask import Flask

from webapp.config import ConfigError, MailSettings
from webapp.mail.connection import GuardedConnection, GuardedMail, Stage
from webapp.mail.errors import InDoubt, MailError, NotHandedOver, Refused, UnsafeMessage, one_line
from webapp.mail.message import OutgoingMail, ascii_address, build, check_text

RETRY_DELAYS = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 25, 120, 720))
JITTER = 0.2

# Enhanced status codes (RFC 3463) that blame the recipient's address, whatever the three-digit code is:
# no such mailbox, no such domain, bad syntax, moved, null MX; mailbox disabled.
_ADDRESS_STATUSES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_ADDRESS_CODES = frozenset({550, 551, 553, 554, 556})
# Replies to RCPT that are about us and not about the recipient: commands out of order, or no sign-in.
_OUR_CODES = frozenset({500, 502, 503, 504, 530, 535, 538})
_ENHANCED = re.compile(r"5\.\d{1,3}\.\d{1,3}(?!\S)")

log = logging.getLogger(__name__)


class Gateway:
    """Sends mails by Flask-Mail, with one connection for each. Safe to share between threads and after a fork.

    `secret`, the application's secret key, prevents Message-IDs from being guessed. Raises ConfigError if the sender in
    the settings is not an address.
    """

    def __init__(self, settings: MailSettings, secret: str) -> None:
        self._sender = read_sender(settings.sender)
        self._secret = secret.encode()
        # Flask-Mail needs an application. This one has nothing else, so that mail can be sent from any process and
        # never pops the context of a request or a task.
        self._app = Flask("webapp.mail", static_folder=None, template_folder=None)
        self._mail = GuardedMail(self._app, settings)

    def message_id(self, key: str) -> str:
        """The Message-ID of the mail with this key, with angle brackets; the same for each attempt."""
        digest = hmac.new(self._secret, key.encode(), hashlib.sha256).hexdigest()[:40]
        return f"<{digest}@{self._sender[1].rpartition('@')[2]}>"

    def send(self, mail: OutgoingMail) -> str:
        """Send one mail; returns its Message-ID once the server has accepted it.

        Takes at most `MailSettings.timeout` seconds for each step of the conversation.
        Raises NotHandedOver, Refused (UnsafeMessage before anything is sent) or InDoubt.
        """
        message_id = self.message_id(mail.key)
        with self._app.app_context():
            message = build(mail, sender=self._sender, message_id=message_id)
            connection = self._mail.connect()
            try:
                with connection:
                    connection.send(message)
            except Exception as error:  # noqa: BLE001 - _raise_for classifies it, unless the mail is sent already
                if connection.stage is not Stage.ACCEPTED:
                    _raise_for(error, connection)
                # The mail is sent. An error in a receiver of Flask-Mail's signal, or a task's time limit during QUIT,
                # must not cause it to be sent again.
                log.warning("An email was accepted, but then: %r", error)
        return message_id


def retry_delay(attempt: int, rng: random.Random) -> timedelta | None:
    """The delay after attempt number `attempt` (1 is the first) has failed; None after the last one.

    1, 5 and 25 minutes, 2 and 12 hours, each up to 20 % shorter or longer, so that the mails of one outage are not all
    retried at once.
    """
    if attempt < 1:
        raise ValueError(f"Attempts count from 1, not {attempt}.")
    if attempt > len(RETRY_DELAYS):
        return None
    return RETRY_DELAYS[attempt - 1] * rng.uniform(1 - JITTER, 1 + JITTER)


def read_sender(text: str) -> tuple[str, str]:
    """Name and address of MAIL_DEFAULT_SENDER. Raises ConfigError if they are invalid."""
    name, address = parseaddr(text)
    try:
        check_text("sender", text)
        return name, ascii_address(address)
    except UnsafeMessage as error:
        raise ConfigError(f"MAIL_DEFAULT_SENDER must look like Name <name@example.com>: {error}.") from None


def _raise_for(error: Exception, connection: GuardedConnection) -> None:
    """Raise the MailError for an error, given how far the conversation got."""
    if not isinstance(error, (OSError, ValueError)):  # not from the conversation: a task's time limit, a bug
        if connection.stage is Stage.HANDED_OVER:
            raise InDoubt(f"Interrupted while waiting for the server's answer: {error!r}") from error
        raise error
    code, reply = _reply(error)
    if connection.stage is Stage.HANDED_OVER:
        raise _after_the_end(error, code, reply) from error
    if code is not None and 500 <= code <= 599:
        raise _permanent(connection.stage, code, reply) from error
    if code is not None:
        raise NotHandedOver("The mail server asked to try again later", code=code, reply=reply) from error
    raise NotHandedOver(one_line(f"The mail server does not answer: {error}"), notice=_is_our_fault(error)) from error


def _reply(error: Exception) -> tuple[int | None, str]:
    """The code and text of the server's reply in an error of smtplib."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
        return code, one_line(text)
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code, one_line(error.smtp_error)
    return None, ""


def _after_the_end(error: Exception, code: int | None, reply: str) -> MailError:
    """The error after the whole mail was sent. Only a refusal (SMTPDataError) means that it was not accepted."""
    if isinstance(error, smtplib.SMTPDataError) and code is not None:
        if 400 <= code <= 499:
            return NotHandedOver("The mail server temporarily refused the email", code=code, reply=reply)
        if 500 <= code <= 599:
            return _refusal("The mail server refused the email", code, reply, address_codes=frozenset())
    return InDoubt(one_line(f"The mail server did not confirm the email: {error}"))


def _permanent(stage: Stage, code: int, reply: str) -> MailError:
    """The error for a 5xx reply before the mail itself was sent."""
    if stage < Stage.RECIPIENT:
        return NotHandedOver(
            "The mail server refused the connection; check the mail settings", code=code, reply=reply, notice=True
        )
    if stage > Stage.RECIPIENT:
        return _refusal("The mail server refused the email", code, reply, address_codes=frozenset())
    if code in _OUR_CODES or _enhanced(reply).startswith("5.7."):
        # "Relay access denied" and the like have the code 550 or 554 too. They are about us; without this, one wrong
        # setting would suppress all addresses.
        return NotHandedOver(
            "The mail server does not allow sending to this address", code=code, reply=reply, notice=True
        )
    if code == 552:
        # Mailbox full. RFC 5321, 4.5.3.1.10: to be treated as temporary at RCPT.
        return NotHandedOver("The recipient's mailbox is full", code=code, reply=reply)
    return _refusal("The mail server refused the recipient", code, reply, address_codes=_ADDRESS_CODES)


def _refusal(message: str, code: int, reply: str, *, address_codes: frozenset[int]) -> Refused:
    address_refused = code in address_codes or _enhanced(reply) in _ADDRESS_STATUSES
    return Refused(message, code=code, reply=reply, address_refused=address_refused)


def _enhanced(reply: str) -> str:
    """The enhanced status code at the beginning of a reply; else empty."""
    match = _ENHANCED.match(reply)
    return match[0] if match else ""


def _is_our_fault(error: Exception) -> bool:
    """Whether our settings are at fault: no such server, no TLS or sign-in offered, an untrusted certificate."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_NONAME
    if isinstance(error, (smtplib.SMTPNotSupportedError, FileNotFoundError, PermissionError, ValueError)):
        return True
    if type(error) is smtplib.SMTPException:  # "No suitable authentication method found."
        return True
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
