"""The embedded SMTP server: every message becomes a file.

It runs as `python -m webapp.launcher.sink --port PORT --mailbox FOLDER`. A file appears complete, under a name that
sorts by arrival: `20260704T081500.000123Z.eml`. The sender and recipients of the SMTP conversation are in the headers
`X-MailFrom` and `X-RcptTo`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

FILE_NAME_FORMAT = "%Y%m%dT%H%M%S.%fZ"


class Mailbox:
    """A folder of messages; the handler that aiosmtpd calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".*.draft"):
            left.unlink()
        self._last = max(
            (_received_at(file) for file in folder.glob("*.eml")), default=datetime.min.replace(tzinfo=UTC)
        )

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        """Keep the message. With a full disk the answer is a temporary error, so that the sender tries again."""
        try:
            self.keep(envelope, datetime.now(UTC))
        except OSError as error:
            return f"452 4.3.1 The mailbox cannot be written to: {error.strerror}"
        return "250 2.0.0 Kept"

    def keep(self, envelope: Envelope, now: datetime) -> Path:
        """Write the message; names keep their order also when the clock goes back. Raises OSError."""
        self._last = max(now, self._last + timedelta(microseconds=1))
        file = self._folder / f"{self._last:{FILE_NAME_FORMAT}}.eml"
        draft = self._folder / f".{file.stem}.draft"
        head = f"X-MailFrom: {envelope.mail_from}\r\nX-RcptTo: {', '.join(envelope.rcpt_tos)}\r\n"
        content = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        with draft.open("wb") as out:
            out.write(head.encode() + content)
            out.flush()
            # Delivered after our answer, so it must survive a power cut.
            os.fsync(out.fileno())
        return draft.rename(file)


def _received_at(file: Path) -> datetime:
    try:
        return datetime.strptime(file.stem, FILE_NAME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


async def serve(port: int, folder: Path) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT. Raises OSError if the port is taken or the folder cannot be made."""
    loop = asyncio.get_running_loop()
    mailbox = Mailbox(folder)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(
        lambda: SMTP(mailbox, hostname="localhost", ident="Beatdesk mailbox", enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1",
        port,
    )
    async with server:
        await stop.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="Keep every message as a file.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--mailbox", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.mailbox))


if __name__ == "__main__":
    main()
