"""Flask-Mail with the connection it lacks: bounded in time, verified, and knowing how far it got."""

from __future__ import annotations

import contextlib
import enum
import functools
import smtplib
import socket
import ssl
import time
from types import TracebackType
from typing import Any

import flask_mail
from flask import Flask, current_app

from webapp.config import MailSettings
from webapp.mail.message import check

# The mail is already accepted or refused when QUIT is sent: nothing is worth waiting for long.
QUIT_TIMEOUT = 1.0
_END_OF_MAIL = b".\r\n"
_BUFFER = 8192


class Stage(enum.IntEnum):
    """How far a conversation got, which decides what an error means."""

    OPENING = 1  # connect, greeting, EHLO, STARTTLS, AUTH
    SENDER = 2  # MAIL FROM
    RECIPIENT = 3  # RCPT TO
    DATA = 4  # DATA asked, not yet allowed
    CONTENT = 5  # the server waits for the mail; the end of it has not been sent
    HANDED_OVER = 6  # the end has been sent, perhaps; the server has not answered
    ACCEPTED = 7  # the server has said that it has the mail


class _ReplyReader:
    """Reads reply lines until a deadline for the whole reply.

    A socket's own time-out begins anew with each received byte, so that a server that drips would never time out.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""
        self.deadline = 0.0

    def readline(self, limit: int) -> bytes:
        """One line with its end, or `limit` bytes, or what came before the connection ended."""
        while b"\n" not in self._pending and len(self._pending) < limit:
            remaining = self.deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(remaining)
            received = self._sock.recv(_BUFFER)
            if not received:
                break
            self._pending += received
        end = self._pending.find(b"\n") + 1 or len(self._pending)
        line, self._pending = self._pending[: min(end, limit)], self._pending[min(end, limit) :]
        return line

    def close(self) -> None:
        """Nothing to release: the socket is closed by its owner."""


class _Session(smtplib.SMTP):
    """smtplib's client, with a stage and with a time limit of `timeout` seconds for each whole reply."""

    stage = Stage.OPENING

    def getreply(self) -> tuple[int, bytes]:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("The connection is closed")
        if not isinstance(self.file, _ReplyReader):
            self.file: Any = _ReplyReader(self.sock)  # smtplib drops it after STARTTLS, and what was read ahead with it
        self.file.deadline = time.monotonic() + self.timeout
        code, text = super().getreply()
        if self.stage is Stage.DATA and code == 354:
            self.stage = Stage.CONTENT
        return code, text

    def send(self, s: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.timeout)
        if self.stage is not Stage.CONTENT:
            super().send(s)
            return
        # In two parts: until the last one is given to the socket, the server cannot have the mail, so that an
        # error in a long mail is still safe to repeat.
        super().send(s[: -len(_END_OF_MAIL)])
        self.stage = Stage.HANDED_OVER
        super().send(s[-len(_END_OF_MAIL) :])

    def mail(self, sender: str, options: Any = ()) -> tuple[int, bytes]:
        self.stage = Stage.SENDER
        return super().mail(sender, options)

    def rcpt(self, recip: str, options: Any = ()) -> tuple[int, bytes]:
        self.stage = Stage.RECIPIENT
        return super().rcpt(recip, options)

    def data(self, msg: Any) -> tuple[int, bytes]:
        # The end of the mail is a write of its own (see send) and must not wait for the first part's acknowledgement.
        if self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stage = Stage.DATA
        code, text = super().data(msg)
        if 200 <= code <= 299:
            self.stage = Stage.ACCEPTED
            return 250, text  # any 2xx means yes (RFC 5321, 4.2.1); smtplib knows only 250
        return code, text

    def rset(self) -> tuple[int, bytes]:
        # smtplib resets after each refusal, for a next mail. There is none: one connection carries one mail, and
        # the answer would be one more step that can hang.
        return 250, b""


class _TLSSession(_Session, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class GuardedConnection(flask_mail.Connection):
    """Flask-Mail's connection, made safe; see `GuardedMail`."""

    host: _Session | None

    @property
    def stage(self) -> Stage:
        """How far the conversation got. OPENING while nothing is open; kept after the end."""
        return self.host.stage if self.host is not None else Stage.OPENING

    def configure_host(self) -> _Session:
        """Connect, and set up TLS and sign-in as the settings say.

        Raises OSError (smtplib's exceptions and ssl's are OSErrors) or ValueError. Never goes on without the TLS that
        was asked for.
        """
        settings: MailSettings = self.mail.settings
        options: dict[str, Any] = {"timeout": settings.timeout, "local_hostname": _local_name()}
        host: _Session
        if settings.use_ssl:
            host = _TLSSession(settings.server, settings.port, context=self.mail.tls, **options)
        else:
            host = _Session(settings.server, settings.port, **options)
        try:
            if settings.use_tls:
                host.starttls(context=self.mail.tls)
            host.ehlo_or_helo_if_needed()
            if settings.username and settings.password:
                host.login(settings.username, settings.password)
        except BaseException:
            host.close()
            raise
        return host

    def send(self, message: flask_mail.Message, envelope_from: str | tuple[str, str] | None = None) -> None:
        """Check the message whole (UnsafeMessage), then let Flask-Mail send it."""
        check(message)
        super().send(message, envelope_from)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Take leave. Whatever happens here changes nothing about the mail and raises nothing."""
        if self.host is None:
            return
        try:
            # After an error of another kind, such as a task's time limit, there is no time for politeness.
            if self.host.sock is not None and (exc_value is None or isinstance(exc_value, smtplib.SMTPException)):
                self.host.timeout = min(self.host.timeout, QUIT_TIMEOUT)
                with contextlib.suppress(OSError):
                    self.host.quit()
        finally:
            self.host.close()


class _GuardedState(flask_mail._Mail):  # noqa: SLF001 - the only place where Flask-Mail makes its connections
    """What Flask-Mail keeps in `app.extensions["mail"]`."""

    def __init__(self, settings: MailSettings) -> None:
        super().__init__(
            server=settings.server,
            username=settings.username,
            password=settings.password,
            port=settings.port,
            use_tls=settings.use_tls,
            use_ssl=settings.use_ssl,
            default_sender=settings.sender,
            debug=0,  # smtplib's debug output shows the password
            max_emails=None,
            suppress=False,  # Flask-Mail sends nothing under TESTING and calls it sent
            ascii_attachments=False,
        )
        self.settings = settings

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """Verifies the server's certificate and name, against `ca_file` alone when there is one.

        Raises OSError when `ca_file` cannot be read.
        """
        return ssl.create_default_context(cafile=self.settings.ca_file)

    def connect(self) -> GuardedConnection:
        return GuardedConnection(self)


class GuardedMail(flask_mail.Mail):
    """Flask-Mail's extension; everything sent through it, Flask-Security's mails included, uses a GuardedConnection.

    What is added: a time limit for connecting and for each reply; TLS with the certificate verified, or no mail at all;
    `message.check` for each message; a QUIT that cannot undo what was sent.
    """

    def __init__(self, app: Flask, settings: MailSettings) -> None:
        """Become the app's Flask-Mail. The settings are ours, not the `MAIL_…` keys of the app's configuration."""
        super().__init__(None)
        self.state = app.extensions["mail"] = _GuardedState(settings)

    def connect(self) -> GuardedConnection:
        """A connection of the current app's mail settings, to be entered with `with`."""
        state: _GuardedState = current_app.extensions["mail"]
        return state.connect()


@functools.cache
def _local_name() -> str:
    """The name to greet with. smtplib asks the resolver for it at each connection, which can take seconds."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
