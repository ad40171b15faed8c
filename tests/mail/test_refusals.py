"""The meaning of each SMTP reply for the email."""

from __future__ import annotations

import pytest

from tests.mail.samples import gateway, mail
from tests.mail.servers import Mailbox, ScriptedServer, Server
from webapp.mail.errors import NotHandedOver, Refused

STEPS = ["connect", "ehlo", "mail", "rcpt", "data", "end"]


@pytest.mark.parametrize("step", STEPS)
def test_a_4xx_reply_is_tried_again(step: str) -> None:
    script = {step: b"451 4.3.0 later"} | ({"helo": b"451 4.3.0 later"} if step == "ehlo" else {})
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert caught.value.retry
    assert (caught.value.code, caught.value.reply, caught.value.notice) == (451, "4.3.0 later", False)


@pytest.mark.parametrize("step", ["mail", "rcpt", "end"])
def test_a_421_reply_is_tried_again(step: str) -> None:
    with ScriptedServer({step: b"421 4.3.2 going down"}) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert caught.value.code == 421


@pytest.mark.parametrize("step", ["connect", "ehlo", "mail"])
def test_5xx_reply_to_ourselves_is_retried_and_reported(step: str) -> None:
    script = {step: b"554 5.5.0 go away"} | ({"helo": b"554 5.5.0 go away"} if step == "ehlo" else {})
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert caught.value.notice
    assert caught.value.code == 554


@pytest.mark.parametrize("reply", ["550 5.1.1 no such user", "551 moved", "553 bad name", "554 no", "501 5.1.3 syntax"])
def test_a_refused_recipient_suppresses_the_address(reply: str) -> None:
    with Server(Mailbox(rcpt=reply)) as server, pytest.raises(Refused) as caught:
        gateway(server.port).send(mail())
    assert caught.value.address_refused
    assert not caught.value.retry
    assert caught.value.code == int(reply[:3])


@pytest.mark.parametrize(
    "reply", ["550 5.7.1 relaying denied", "554 5.7.1 <a>: Relay access denied", "530 sign in first"]
)
def test_server_that_does_not_relay_suppresses_no_address(reply: str) -> None:
    with Server(Mailbox(rcpt=reply)) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert caught.value.notice


def test_a_full_mailbox_is_tried_again() -> None:
    with Server(Mailbox(rcpt="552 5.2.2 mailbox full")) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert not caught.value.notice


@pytest.mark.parametrize("step", ["data", "end"])
def test_refused_content_does_not_suppress_the_address(step: str) -> None:
    with ScriptedServer({step: b"554 5.6.0 looks like spam"}) as server, pytest.raises(Refused) as caught:
        gateway(server.port).send(mail())
    assert not caught.value.address_refused
    assert caught.value.reply == "5.6.0 looks like spam"


def test_an_unknown_recipient_named_after_the_mail_suppresses_the_address() -> None:
    with Server(Mailbox(end="550 5.1.10 recipient not found")) as server, pytest.raises(Refused) as caught:
        gateway(server.port).send(mail())
    assert caught.value.address_refused


def test_a_server_that_is_away_is_tried_again() -> None:
    with ScriptedServer({}) as server:
        port = server.port
    with pytest.raises(NotHandedOver) as caught:
        gateway(port).send(mail())
    assert (caught.value.code, caught.value.notice) == (None, False)


def test_a_server_without_an_address_is_tried_again() -> None:
    with pytest.raises(NotHandedOver) as caught:
        gateway(25, server="no-such-host.invalid").send(mail())
    assert (caught.value.code, caught.value.retry) == (None, True)


def test_a_reply_is_shown_on_one_printable_line() -> None:
    reply = b"550-5.1.1 no\x1b[31m\x00such\r\n550 5.1.1 user"
    with ScriptedServer({"rcpt": reply}) as server, pytest.raises(Refused) as caught:
        gateway(server.port).send(mail())
    assert caught.value.reply.isprintable()
    assert caught.value.reply == "5.1.1 no [31m such 5.1.1 user"
