"""The embedded SMTP server keeps each message as one file."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiosmtpd.smtp import Envelope

from webapp.launcher.sink import Mailbox

NOON = datetime(2026, 7, 4, 12, tzinfo=UTC)


def envelope(text: str) -> Envelope:
    made = Envelope()
    made.mail_from, made.rcpt_tos, made.content = "from@example.com", ["to@example.com"], text.encode()
    return made


def test_a_message_is_kept_with_its_envelope(tmp_path: Path) -> None:
    file = Mailbox(tmp_path).keep(envelope("Subject: Hello\r\n\r\nText\r\n"), NOON)
    assert file.name == "20260704T120000.000000Z.eml"
    assert file.read_bytes() == (
        b"X-MailFrom: from@example.com\r\nX-RcptTo: to@example.com\r\nSubject: Hello\r\n\r\nText\r\n"
    )
    assert list(tmp_path.iterdir()) == [file]


def test_names_sort_by_arrival_although_the_clock_goes_back(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    first = mailbox.keep(envelope("1"), NOON)
    second = mailbox.keep(envelope("2"), NOON)
    third = mailbox.keep(envelope("3"), NOON - timedelta(hours=1))
    after_restart = Mailbox(tmp_path).keep(envelope("4"), NOON - timedelta(hours=2))
    assert sorted(tmp_path.iterdir()) == [first, second, third, after_restart]


def test_what_was_half_written_is_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".20260704T120000.000000Z.draft").write_text("half")
    Mailbox(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_mailbox_that_cannot_be_written_to_is_a_temporary_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "mailbox"
    mailbox = Mailbox(folder)
    folder.rmdir()
    assert asyncio.run(mailbox.handle_DATA(None, None, envelope("x"))).startswith("452 ")
