"""SMTP servers: aiosmtpd's on a free port, and a scripted one for misbehaviour that aiosmtpd cannot produce."""

from __future__ import annotations

import contextlib
import datetime as dt
import email
import email.policy
import enum
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"


class Mailbox:
    """aiosmtpd's handler: keeps each mail, or answers one command with the reply it was given."""

    def __init__(self, **replies: str) -> None:
        self.replies = replies
        self.senders: list[str] = []
        self.recipients: list[list[str]] = []
        self.contents: list[bytes] = []

    @property
    def messages(self) -> list[EmailMessage]:
        return [parse(content) for content in self.contents]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if "mail" not in self.replies:
            envelope.mail_from = address
        return self.replies.get("mail", "250 OK")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        if "rcpt" not in self.replies:
            envelope.rcpt_tos.append(address)
        return self.replies.get("rcpt", "250 OK")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if "end" in self.replies:
            return self.replies["end"]
        self.senders.append(envelope.mail_from)
        self.recipients.append(envelope.rcpt_tos)
        self.contents.append(envelope.content)
        return "250 OK"


class Server(Controller):
    """aiosmtpd on a free port, for `with`."""

    def __init__(self, handler: Mailbox, **options: Any) -> None:
        super().__init__(handler, hostname=HOST, port=0, ready_timeout=60, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


class Action(enum.Enum):
    """The behaviour of a scripted server instead of a reply."""

    HANG = "keeps the connection and says nothing"
    DROP = "closes the connection"
    DRIP = "sends one byte of an endless line at a time"
    CHATTER = "sends line after line of a reply that never ends"


Step = bytes | Action
DEFAULTS: Mapping[str, Step] = {
    "connect": b"220 ready",
    "ehlo": b"250 hello",
    "helo": b"250 hello",
    "starttls": b"220 go ahead",
    "mail": b"250 ok",
    "rcpt": b"250 ok",
    "data": b"354 go ahead",
    "end": b"250 taken",
    "quit": b"221 bye",
}


@dataclass
class ScriptedServer:
    """A server that does what `script` says at each step, and the right thing at every other step."""

    script: Mapping[str, Step]
    commands: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)

    def __enter__(self) -> ScriptedServer:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # the client may have closed it
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        # The client may go away at any point.
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            self._converse(connection, lines)

    def _converse(self, connection: socket.socket, lines: Any) -> None:
        going_on = self._do(connection, "connect")
        while going_on and (line := lines.readline()):
            command = line.decode("latin-1").strip()
            self.commands.append(command)
            step = command.partition(" ")[0].lower()
            going_on = self._do(connection, step)
            if step == "data" and going_on and self._step("data") == DEFAULTS["data"]:
                content = b""
                while not content.endswith(b"\r\n.\r\n"):
                    if not (part := lines.readline()):
                        return
                    content += part
                self.contents.append(content)
                going_on = self._do(connection, "end")

    def _step(self, step: str) -> Step:
        return self.script.get(step, DEFAULTS.get(step, Action.HANG))

    def _do(self, connection: socket.socket, step: str) -> bool:
        """Do one step; whether the conversation goes on."""
        match self._step(step):
            case bytes() as reply:
                connection.sendall(reply + b"\r\n")
                return True
            case Action.HANG:
                self._stopped.wait()
            case Action.DRIP:
                while not self._stopped.wait(0.02):
                    connection.sendall(b"2")
            case Action.CHATTER:
                while not self._stopped.wait(0.02):
                    connection.sendall(b"250-and\r\n")
        return False


def parse(content: bytes) -> EmailMessage:
    """A mail as its receiver would read it."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def make_certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate for a host name or IP address: its file, and a server's context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context
