"""The errors of sending a mail, by what to do next.

`NotHandedOver`: try again. `Refused`: never try again. `InDoubt`: show it to a person, and never send it again
automatically.
"""

from __future__ import annotations

MAX_REPLY_LENGTH = 300


class MailError(Exception):
    """A mail that was not sent, or perhaps not.

    Attributes:
        code: the server's three-digit reply code; None without a reply.
        reply: the text of the reply, on one line, at most MAX_REPLY_LENGTH characters; empty without a reply.
        retry: whether the mail can be tried again without the risk of sending it twice.
    """

    retry = False

    def __init__(self, message: str, *, code: int | None = None, reply: str = "") -> None:
        super().__init__(f"{message} ({code} {reply})" if code is not None else message)
        self.code = code
        self.reply = reply


class NotHandedOver(MailError):
    """The server certainly does not have the mail; another attempt may succeed.

    `notice` means that waiting alone will not help, because our settings are wrong (sign-in, sender, TLS).
    """

    retry = True

    def __init__(self, message: str, *, code: int | None = None, reply: str = "", notice: bool = False) -> None:
        super().__init__(message, code=code, reply=reply)
        self.notice = notice


class Refused(MailError):
    """The mail cannot be sent as it is, now or later.

    `address_refused` means that the recipient's address is at fault and should get no further mail.
    """

    def __init__(
        self, message: str, *, code: int | None = None, reply: str = "", address_refused: bool = False
    ) -> None:
        super().__init__(message, code=code, reply=reply)
        self.address_refused = address_refused


class InDoubt(MailError):
    """The server got the whole mail but did not confirm it. Sending it again could send it twice."""


class UnsafeMessage(Refused):
    """A mail refused by us before connecting: a header, address or list of recipients that must never be sent."""


def one_line(reply: bytes | str) -> str:
    """The text of a server's reply as one printable line, safe for logs and pages."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_REPLY_LENGTH]
