"""What can go wrong with one mail, sorted by what is to be done about it.

Three classes, three actions: `NotHandedOver` is tried again, `Refused` is never tried again, `InDoubt` is shown to a
person and never sent again by itself.
"""

from __future__ import annotations

REPLY_LIMIT = 300


class MailError(Exception):
    """A mail was not, or perhaps not, sent.

    Attributes:
        code: the server's three-digit reply, or None when it did not answer or was never asked.
        reply: the server's words, on one line, at most REPLY_LIMIT characters; empty without a reply.
        retry: whether the same mail may be tried again without danger of sending it twice.
    """

    retry = False

    def __init__(self, message: str, *, code: int | None = None, reply: str = "") -> None:
        super().__init__(f"{message} ({code} {reply})" if code is not None else message)
        self.code = code
        self.reply = reply


class NotHandedOver(MailError):
    """The server surely does not have the mail; another attempt may succeed.

    `notice` says that waiting alone will not help: our own settings are at fault (sign-in, sender, TLS), so a person
    has to be told.
    """

    retry = True

    def __init__(self, message: str, *, code: int | None = None, reply: str = "", notice: bool = False) -> None:
        super().__init__(message, code=code, reply=reply)
        self.notice = notice


class Refused(MailError):
    """The mail cannot be sent as it is, now or later.

    `address_refused` says that the fault lies with the recipient's address, which should get no further mail.
    """

    def __init__(
        self, message: str, *, code: int | None = None, reply: str = "", address_refused: bool = False
    ) -> None:
        super().__init__(message, code=code, reply=reply)
        self.address_refused = address_refused


class InDoubt(MailError):
    """The whole mail was given to the server, which did not say whether it took it. Sending again could send twice."""


class UnsafeMessage(Refused):
    """Refused by ourselves before any connection: a header, address or recipient list that must never be sent."""


def one_line(reply: bytes | str) -> str:
    """What a server said, as one printable line that is safe in logs and pages."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:REPLY_LIMIT]
