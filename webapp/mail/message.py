"""Mails as values, and the Flask-Mail messages built from them.

Flask-Mail checks only a part of what it writes into headers. `check_message` decides what may be in a message; the
connection calls it for every message, those of other extensions included.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import policy
from email.charset import QP, Charset
from email.mime.text import MIMEText
from email.utils import getaddresses
from typing import Any

import flask_mail
import idna

from webapp.mail.errors import UnsafeMessage

# A line of a message may have 998 octets (RFC 5322, 2.1.1). Headers are kept below that, so that none is refolded:
# Python would break long URLs, such as those in List-Unsubscribe, into encoded words.
MAX_LINE_LENGTH = 998
MAX_VALUE_BYTES = 900
MAX_ADDRESS_LENGTH = 254

_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")
_LOCAL_PART = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_OWN_HEADERS = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version"}
    | {"return-path", "received", "dkim-signature"}
)
_OWN_PREFIXES = ("content-", "resent-")


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One mail to one person.

    Attributes:
        key: identifies the mail, such as `birthday:17:2027`; the same key always gives the same Message-ID.
        recipient: one address, without a name.
        recipient_name: may be empty.
        subject: one line.
        text: the plain text part.
        html: the HTML part.
        headers: further headers, such as those of `webapp.mail.unsubscribe`.
    """

    key: str
    recipient: str
    recipient_name: str
    subject: str
    text: str
    html: str
    headers: Mapping[str, str] = field(default_factory=dict)


class QuotableMessage(flask_mail.Message):
    """Flask-Mail's message with bodies that every server passes on unchanged.

    Flask-Mail sends bodies as 8-bit text with lines of any length, which a server without 8BITMIME may refuse and one
    with a line limit may break. Quoted-printable avoids both, and bare CR and LF as well.
    """

    def _mimetext(self, text: str | None, subtype: str = "plain") -> MIMEText:
        charset = Charset("utf-8")
        charset.body_encoding = QP
        return MIMEText(text or "", _subtype=subtype, _charset=charset)  # type: ignore[arg-type]  # a Charset is taken

    def _message(self) -> Any:
        message = super()._message()
        message.policy = policy.SMTP.clone(max_line_length=MAX_LINE_LENGTH)
        return message


def build(mail: OutgoingMail, *, sender: tuple[str, str], message_id: str) -> QuotableMessage:
    """The Flask-Mail message for a mail. `sender` is (name, address), `message_id` includes its angle brackets.

    Raises UnsafeMessage for anything in it that must not be sent.
    """
    message = QuotableMessage(
        subject=mail.subject,
        recipients=[(mail.recipient_name, ascii_address(mail.recipient))],
        body=mail.text,
        html=mail.html,
        sender=sender[1],
        # Keeps out-of-office programs from replying (RFC 3834).
        extra_headers={"Auto-Submitted": "auto-generated", **mail.headers},
    )
    # The constructor would join name and address without quoting; with a comma in the name, the address would be lost.
    message.sender = sender
    message.msgId = message_id
    check_message(message)
    return message


def check_message(message: flask_mail.Message) -> None:
    """Refuse a message that must never reach a server. Raises UnsafeMessage.

    Refused are: any number of recipients but one; control characters (CR, LF and NUL among them) in a header's name or
    value; an extra header that duplicates one of ours; attachments and SMTP options, which we never use.
    """
    if len(message.recipients) != 1 or message.cc or message.bcc:
        raise UnsafeMessage("An email must have exactly one recipient and no copies")
    if message.attachments or message.mail_options or message.rcpt_options:
        raise UnsafeMessage("An email cannot have attachments or SMTP options")
    _check_mailbox("recipient", message.recipients[0])
    _check_mailbox("sender", message.sender)
    if message.reply_to:
        _check_mailbox("reply address", message.reply_to)
    check_text("subject", message.subject or "")
    check_text("Message-ID", message.msgId)
    for name, value in (message.extra_headers or {}).items():
        _check_header(name, value)
    for body in (message.body, message.html):
        try:
            (body or "").encode()
        except UnicodeEncodeError as error:
            raise UnsafeMessage("The text cannot be written in UTF-8") from error


def check_text(what: str, text: str) -> None:
    """Refuse text that is not valid in a one-line header. Raises UnsafeMessage.

    All control characters and line separators are refused, not only CR, LF and NUL: Python's email package also takes a
    vertical tab or a form feed for the end of a line, and starts a new header line there.
    """
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise UnsafeMessage(f"The {what} contains the forbidden character U+{ord(character):04X}")
    if len(text.encode()) > MAX_VALUE_BYTES:
        raise UnsafeMessage(f"The {what} is longer than {MAX_VALUE_BYTES} octets")


def ascii_address(address: str) -> str:
    """The address in ASCII: an international domain becomes Punycode (IDNA 2008).

    Raises UnsafeMessage for text that is not exactly one address, and for characters outside ASCII before the @: they
    need SMTPUTF8 on every server up to the mailbox, which Flask-Mail does not support.
    """
    local, _, domain = address.rpartition("@")
    if not local.isascii():
        raise UnsafeMessage("The address has characters outside ASCII before the @ (SMTPUTF8)", address_refused=True)
    try:
        domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UnsafeMessage("The address has an invalid domain", address_refused=True) from error
    result = f"{local}@{domain}"
    if len(result) > MAX_ADDRESS_LENGTH or not _LOCAL_PART.fullmatch(local) or not _DOMAIN.fullmatch(domain):
        raise UnsafeMessage("This is not a single email address", address_refused=True)
    return result


def _check_mailbox(what: str, mailbox: str | tuple[str, str]) -> None:
    """Check a name and address; Flask-Mail accepts them as a pair or as `Name <address>`."""
    if isinstance(mailbox, str):
        check_text(what, mailbox)
        pairs = getaddresses([mailbox])
        if len(pairs) != 1:
            raise UnsafeMessage(f"The {what} must be exactly one address")
        name, address = pairs[0]
    else:
        name, address = mailbox
    check_text(f"{what}'s name", name)
    ascii_address(address)


def _check_header(name: str, value: str) -> None:
    if not _HEADER_NAME.fullmatch(name):
        raise UnsafeMessage("The name of an extra header has forbidden characters")
    if name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIXES):
        raise UnsafeMessage(f"The header {name} is set by the gateway and cannot be given")
    check_text(f"header {name}", value)
    if not value.isascii():
        raise UnsafeMessage(f"The header {name} has characters outside ASCII")
