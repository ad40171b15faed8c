"""An SMTP connection for Flask-Mail with time-outs, verified TLS, and a record of how far it got."""

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
from webapp.mail.message import check_message

# Seconds. When QUIT is sent, the mail is already accepted or refused, so the reply is not worth a long wait.
QUIT_TIMEOUT = 1.0
_END_OF_MAIL = b".\r\n"
_BUFFER = 8192


class Stage(enum.IntEnum):
    """How far an SMTP conversation got, which decides what an error means."""

    OPENING = 1  # connect, greeting, EHLO, STARTTLS, AUTH
    SENDER = 2  # MAIL FROM
    RECIPIENT = 3  # RCPT TO
    DATA = 4  # DATA sent, not yet accepted
    CONTENT = 5  # the server waits for the mail; its end has not been sent
    HANDED_OVER = 6  # the end may have been sent; the server has not replied
    ACCEPTED = 7  # the server has confirmed the mail


class _ReplyReader:
    """Reads the lines of a reply, with a deadline for the whole reply.

    A socket's own time-out starts again with each received byte, so a server that sends slowly would never time out.
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
            self.file: Any = _ReplyReader(self.sock)  # smtplib drops it after STARTTLS, with its buffer
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
        # In two parts: until the last one is passed to the socket, the server cannot have the whole mail, so that
        # sending it again after an error is safe.
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
        # The end of the mail is a separate write (see send), which must not wait for the first part's acknowledgement.
        if self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stage = Stage.DATA
        code, text = super().data(msg)
        if 200 <= code <= 299:
            self.stage = Stage.ACCEPTED
            return 250, text  # any 2xx is success (RFC 5321, 4.2.1); smtplib accepts only 250
        return code, text

    def rset(self) -> tuple[int, bytes]:
        # smtplib resets after each refusal, for the next mail. A connection of ours carries only one, and the reply
        # would be one more step that can hang.
        return 250, b""


class _TLSSession(_Session, smtplib.SMTP_SSL):
    """The same over TLS from the beginning."""


class GuardedConnection(flask_mail.Connection):
    """Flask-Mail's connection with what `GuardedMail` adds."""

    host: _Session | None

    @property
    def stage(self) -> Stage:
        """How far the conversation got; OPENING before it begins. Kept after the end."""
        return self.host.stage if self.host is not None else Stage.OPENING

    def configure_host(self) -> _Session:
        """Connect, and set up TLS and sign-in as the settings say.

        Raises OSError (as are smtplib's and ssl's exceptions) or ValueError. Never continues without TLS if the
        settings require it.
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
        """Check the message, then let Flask-Mail send it. Raises UnsafeMessage."""
        check_message(message)
        super().send(message, envelope_from)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Send QUIT and close. Errors in this are ignored: they do not change whether the mail was sent."""
        if self.host is None:
            return
        try:
            # After other errors, such as a task's time limit, there is no time for QUIT.
            if self.host.sock is not None and (exc_value is None or isinstance(exc_value, smtplib.SMTPException)):
                self.host.timeout = min(self.host.timeout, QUIT_TIMEOUT)
                with contextlib.suppress(OSError):
                    self.host.quit()
        finally:
            self.host.close()


class _GuardedState(flask_mail._Mail):  # noqa: SLF001 - the only place where Flask-Mail makes its connections
    """Flask-Mail's state in `app.extensions["mail"]`."""

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
            suppress=False,  # under TESTING, Flask-Mail would report mails as sent without sending them
            ascii_attachments=False,
        )
        self.settings = settings

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """The TLS context, which verifies the server's certificate and name, against `ca_file` alone if it is set.

        Raises OSError when `ca_file` cannot be read.
        """
        return ssl.create_default_context(cafile=self.settings.ca_file)

    def connect(self) -> GuardedConnection:
        return GuardedConnection(self)


class GuardedMail(flask_mail.Mail):
    """Flask-Mail's extension with a GuardedConnection for everything sent through it, Flask-Security's mails included.

    It adds a time limit for connecting and for each reply, TLS with a verified certificate or no mail at all,
    `check_message` for each message, and a QUIT whose errors do not turn a sent mail into a failed one.
    """

    def __init__(self, app: Flask, settings: MailSettings) -> None:
        """Bind to the app. The settings are ours, not the `MAIL_…` keys of the app's configuration."""
        super().__init__(None)
        self.state = app.extensions["mail"] = _GuardedState(settings)

    def connect(self) -> GuardedConnection:
        """A connection with the current app's mail settings, as a context manager."""
        state: _GuardedState = current_app.extensions["mail"]
        return state.connect()


@functools.cache
def _local_name() -> str:
    """The host name for EHLO. smtplib would resolve it at each connection, which can take seconds."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
