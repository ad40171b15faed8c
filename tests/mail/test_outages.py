"""Servers that hang, drop and drip: the time is bounded, and it is known whether the email may be sent again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import flask_mail
import pytest

from tests.mail.samples import gateway, mail
from tests.mail.servers import HOST, Action, ScriptedServer, Step
from webapp.mail.errors import InDoubt, NotHandedOver

BEFORE_THE_END = ["connect", "ehlo", "mail", "rcpt", "data"]
TIMEOUT = 0.3
# Far more than they may take together, for a machine that has much else to do; far less than for ever.
BOUND = 30.0


@contextmanager
def bounded() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < BOUND


@pytest.mark.parametrize("step", BEFORE_THE_END)
def test_a_server_that_hangs_is_left_and_tried_again(step: str) -> None:
    with ScriptedServer({step: Action.HANG}) as server, bounded(), pytest.raises(NotHandedOver) as caught:
        gateway(server.port, timeout=TIMEOUT).send(mail())
    assert caught.value.retry
    assert not caught.value.notice


@pytest.mark.parametrize("step", [*BEFORE_THE_END, "helo"])
def test_a_server_that_drops_is_tried_again(step: str) -> None:
    script: dict[str, Step] = {step: Action.DROP, **({"ehlo": b"502 what"} if step == "helo" else {})}
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port).send(mail())
    assert caught.value.retry


@pytest.mark.parametrize("action", [Action.DRIP, Action.CHATTER])
@pytest.mark.parametrize("step", ["connect", "ehlo", "rcpt"])
def test_a_server_that_never_ends_its_reply_is_left(step: str, action: Action) -> None:
    with ScriptedServer({step: action}) as server, bounded(), pytest.raises(NotHandedOver):
        gateway(server.port, timeout=TIMEOUT).send(mail())


@pytest.mark.parametrize("action", [Action.HANG, Action.DROP, Action.DRIP, Action.CHATTER])
def test_no_answer_after_the_end_leaves_the_mail_in_doubt(action: Action) -> None:
    with ScriptedServer({"end": action}) as server, bounded(), pytest.raises(InDoubt) as caught:
        gateway(server.port, timeout=TIMEOUT).send(mail())
    assert not caught.value.retry
    assert len(server.contents) == 1


@pytest.mark.parametrize("answer", [b"what?", b"354 go on", b"250" + b"x" * 20000])
def test_a_senseless_answer_after_the_end_leaves_the_mail_in_doubt(answer: bytes) -> None:
    with ScriptedServer({"end": answer}) as server, pytest.raises(InDoubt):
        gateway(server.port).send(mail())
    assert len(server.contents) == 1


@pytest.mark.parametrize("step", [Action.DROP, Action.HANG, b"421 going down", b"500 what?", b"nonsense"])
def test_trouble_at_quit_does_not_undo_a_sent_mail(step: Action | bytes) -> None:
    with ScriptedServer({"quit": step}) as server, bounded():
        assert gateway(server.port, timeout=TIMEOUT).send(mail())
    assert len(server.contents) == 1


def test_a_server_that_does_not_accept_connections_is_left() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        # The kernel answers for as many as fit into the queue; fill it, so that the next one gets no answer.
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        with bounded(), pytest.raises(NotHandedOver):
            gateway(listener.getsockname()[1], timeout=TIMEOUT).send(mail())


def test_a_server_that_stops_reading_in_the_middle_is_tried_again() -> None:
    # Too much for the buffers of both ends, so that the end of the mail never leaves.
    large = mail(text="x" * 70 + "\n", html=("y" * 70 + "\n") * 90_000)
    with _server_that_does_not_read() as port, bounded(), pytest.raises(NotHandedOver):
        gateway(port, timeout=TIMEOUT).send(large)


@contextmanager
def _server_that_does_not_read() -> Iterator[int]:
    """Answers everything in advance, as far as 354, and then reads nothing."""
    with socket.create_server((HOST, 0)) as listener, ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def answer() -> None:
            connection, _ = listener.accept()
            stack.enter_context(connection)
            connection.sendall(b"220 ready\r\n250 hello\r\n250 ok\r\n250 ok\r\n354 go ahead\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


class Interrupted(Exception):
    """Stands for a task's time limit, which strikes anywhere."""


def test_an_interruption_while_waiting_for_the_answer_leaves_the_mail_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    _interrupt_at(monkeypatch, b".\r\n")
    with ScriptedServer({}) as server, pytest.raises(InDoubt):
        gateway(server.port).send(mail())


def test_an_interruption_before_the_mail_is_sent_stays_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    _interrupt_at(monkeypatch, b"data\r\n")
    with ScriptedServer({}) as server, pytest.raises(Interrupted):
        gateway(server.port).send(mail())
    assert server.contents == []


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """Raise Interrupted right after these bytes went out, as a signal's handler would."""
    original = flask_mail.smtplib.SMTP.send

    def send(self: object, data: bytes | str) -> None:
        original(self, data)
        if (data.encode() if isinstance(data, str) else data) == sent:
            raise Interrupted

    monkeypatch.setattr(flask_mail.smtplib.SMTP, "send", send)
