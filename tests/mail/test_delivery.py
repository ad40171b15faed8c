"""An email is delivered as it was composed."""

from __future__ import annotations

import flask_mail
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import gateway, mail
from tests.mail.servers import Mailbox, ScriptedServer, Server
from webapp.config import ConfigError, MailSettings
from webapp.mail.connection import GuardedMail
from webapp.mail.errors import UnsafeMessage
from webapp.mail.gateway import Gateway
from webapp.mail.message import build
from webapp.mail.unsubscribe import unsubscribe_headers


def test_a_mail_arrives_with_its_text_and_html() -> None:
    box = Mailbox()
    with Server(box) as server:
        message_id = gateway(server.port).send(mail(text="Grüße\n", html="<p>Grüße</p>\n"))
    [message] = box.messages
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (text.get_content(), html.get_content()) == ("Grüße\r\n", "<p>Grüße</p>\r\n")
    assert message["Message-ID"] == message_id
    assert message["Subject"] == "Hello"
    assert message["Auto-Submitted"] == "auto-generated"
    assert [(to.display_name, to.addr_spec) for to in message["To"].addresses] == [("Maya", "maya@example.com")]
    assert box.recipients == [["maya@example.com"]]
    assert box.senders == ["beatdesk@example.com"]


def test_names_and_subject_outside_ascii_arrive() -> None:
    box = Mailbox()
    name, subject = 'Đỗ, "Mẫu" O\'Neill 山田', "Alles Gute zum Geburtstag, 山田 太郎! " * 4 + "🎂"
    with Server(box) as server:
        gateway(server.port, sender='"Beat, desk ÄÖ" <beatdesk@example.com>').send(
            mail(recipient_name=name, subject=subject)
        )
    [message] = box.messages
    assert message["To"].addresses[0].display_name == name
    assert message["From"].addresses[0].display_name == "Beat, desk ÄÖ"
    assert message["Subject"] == subject


def test_an_international_domain_is_sent_in_its_ascii_form() -> None:
    box = Mailbox()
    with Server(box) as server:
        gateway(server.port).send(mail(recipient="maya@faß.example"))
    assert box.recipients == [["maya@xn--fa-hia.example"]]


def test_a_long_unsubscribe_link_arrives_in_one_piece() -> None:
    box, url = Mailbox(), "https://beatdesk.example/unsubscribe/" + "A" * 400
    with Server(box) as server:
        gateway(server.port).send(mail(headers=unsubscribe_headers(url)))
    assert f"List-Unsubscribe: <{url}>\r\n".encode() in box.contents[0]
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in box.contents[0]


def test_the_same_key_gives_the_same_message_id() -> None:
    first, again = gateway(1), gateway(2)
    assert first.message_id("birthday:7:2027") == again.message_id("birthday:7:2027")
    assert first.message_id("birthday:7:2027") != first.message_id("birthday:7:2028")
    assert Gateway(MailSettings(), "another secret").message_id("a") != Gateway(MailSettings(), "secret").message_id(
        "a"
    )
    assert first.message_id("a").endswith("@example.com>")


def test_text_cannot_end_the_mail_early() -> None:
    smuggled = "one\n.\nMAIL FROM:<evil@example.com>\r\n.\r\nRCPT TO:<x@example.com>\r.\rDATA\n..\n.two\n"
    with ScriptedServer({}) as server:
        gateway(server.port).send(mail(text=smuggled))
    assert [command.split()[0] for command in server.commands] == ["ehlo", "mail", "rcpt", "data", "quit"]
    assert len(server.contents) == 1


@settings(max_examples=40)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_every_line_fits_smtp_and_text_is_kept(text: str) -> None:
    raw = _as_sent(text + "x" * 2000)
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


def _as_sent(text: str) -> bytes:
    app = Flask(__name__)
    GuardedMail(app, MailSettings())
    with app.app_context():
        return bytes(build(mail(text=text, html=text), sender=("", "a@example.com"), message_id="<1@example.com>"))


def test_any_2xx_reply_after_the_end_means_accepted() -> None:
    with ScriptedServer({"end": b"252 will try"}) as server:
        assert gateway(server.port).send(mail())


@pytest.mark.parametrize("sender", ["nobody", "a@example.com\r\nBcc: b@example.com", "", "a@b@c <x>"])
def test_a_wrong_sender_in_the_settings_is_named(sender: str) -> None:
    with pytest.raises(ConfigError, match="MAIL_DEFAULT_SENDER"):
        Gateway(MailSettings(sender=sender), "secret")


def test_mail_of_other_extensions_is_guarded_too() -> None:
    box, app = Mailbox(), Flask(__name__)
    app.testing = True
    with Server(box) as server, app.app_context():
        GuardedMail(app, MailSettings(port=server.port, sender="beatdesk@example.com"))
        flask = app.extensions["mail"]
        flask.send(flask_mail.Message("Reset", recipients=["maya@example.com"], body="x"))
        with pytest.raises(UnsafeMessage):
            flask.send(flask_mail.Message("Re\x0bBcc: evil@example.com", recipients=["maya@example.com"], body="x"))
        with pytest.raises(UnsafeMessage):
            flask.send(flask_mail.Message("Re", recipients=["maya@example.com"], bcc=["a@example.com"], body="x"))
    assert [message["Subject"] for message in box.messages] == ["Reset"]


def test_a_listener_that_fails_does_not_undo_a_sent_mail() -> None:
    def fail(_sender: object, message: object) -> None:
        raise RuntimeError("listener")

    with ScriptedServer({}) as server, flask_mail.email_dispatched.connected_to(fail):
        assert gateway(server.port).send(mail())
    assert len(server.contents) == 1
