"""TLS is verified, or no email is sent; signing in."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import AuthResult, LoginPassword

from tests.mail.samples import gateway, mail
from tests.mail.servers import HOST, Action, Mailbox, ScriptedServer, Server, Step, make_certificate
from webapp.mail.errors import NotHandedOver

Certificate = tuple[Path, ssl.SSLContext]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), HOST)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("foreign"), "another.example")


MODES = [("use_tls", "tls_context"), ("use_ssl", "ssl_context")]


@pytest.mark.parametrize(("setting", "option"), MODES)
def test_a_trusted_certificate_is_accepted(certificate: Certificate, setting: str, option: str) -> None:
    box, (file, context) = Mailbox(), certificate
    with Server(box, **{option: context}) as server:
        gateway(server.port, ca_file=str(file), **{setting: True}).send(mail())
    assert len(box.contents) == 1


@pytest.mark.parametrize(("setting", "option"), MODES)
def test_an_unknown_certificate_is_refused(certificate: Certificate, setting: str, option: str) -> None:
    box = Mailbox()
    with Server(box, **{option: certificate[1]}) as server, pytest.raises(NotHandedOver, match="CERTIFICATE") as caught:
        gateway(server.port, **{setting: True}).send(mail())
    assert caught.value.notice
    assert box.contents == []


@pytest.mark.parametrize(("setting", "option"), MODES)
def test_a_certificate_for_another_name_is_refused(foreign: Certificate, setting: str, option: str) -> None:
    box, (file, context) = Mailbox(), foreign
    with Server(box, **{option: context}) as server, pytest.raises(NotHandedOver, match="mismatch") as caught:
        gateway(server.port, ca_file=str(file), **{setting: True}).send(mail())
    assert caught.value.notice
    assert box.contents == []


def test_a_server_without_starttls_gets_no_mail() -> None:
    with ScriptedServer({}) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, use_tls=True).send(mail())
    assert caught.value.notice
    assert server.commands[:1] == [command for command in server.commands if command.lower().startswith("ehlo")]
    assert server.contents == []


OFFERED = b"250-hello\r\n250 STARTTLS"


@pytest.mark.parametrize(("reply", "notice"), [(b"454 4.7.0 not now", False), (b"501 5.5.4 no", True)])
def test_a_refused_starttls_gets_no_mail(reply: bytes, notice: bool) -> None:
    script: dict[str, Step] = {"ehlo": OFFERED, "starttls": reply}
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, use_tls=True).send(mail())
    assert caught.value.notice is notice
    assert server.contents == []


@pytest.mark.parametrize("step", [Action.HANG, b"220 go ahead"])
def test_a_hanging_handshake_is_left(step: Step) -> None:
    # With STARTTLS granted, the handshake is a command that this server does not know: it stays silent.
    script: dict[str, Step] = {"ehlo": OFFERED, "starttls": step}
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, use_tls=True, timeout=0.3).send(mail())
    assert not caught.value.notice


def test_plain_text_sent_ahead_of_tls_is_not_believed(certificate: Certificate) -> None:
    # A man in the middle could append replies to the 220; they must not count as sent over TLS.
    script: dict[str, Step] = {"ehlo": OFFERED, "starttls": b"220 go ahead\r\n250 evil\r\n250 ok\r\n250 ok"}
    with ScriptedServer(script) as server, pytest.raises(NotHandedOver):
        gateway(server.port, use_tls=True, ca_file=str(certificate[0]), timeout=0.3).send(mail())
    assert server.contents == []


def test_a_server_that_never_begins_tls_is_left() -> None:
    with ScriptedServer({"connect": Action.HANG}) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, use_ssl=True, timeout=0.3).send(mail())
    assert not caught.value.notice


def test_missing_ca_file_is_reported(certificate: Certificate) -> None:
    with Server(Mailbox(), tls_context=certificate[1]) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, use_tls=True, ca_file="/nowhere/ca.pem").send(mail())
    assert caught.value.notice


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"beatdesk", b"right")
    return AuthResult(success=right, handled=False)


def test_it_signs_in_over_tls(certificate: Certificate) -> None:
    box, (file, context) = Mailbox(), certificate
    with Server(box, tls_context=context, authenticator=authenticate, auth_required=True) as server:
        gateway(server.port, ca_file=str(file), use_tls=True, username="beatdesk", password="right").send(mail())
    assert len(box.contents) == 1


@pytest.mark.parametrize("password", ["wrong", "nicht ASCII: ß"])
def test_refused_sign_in_is_reported_without_the_password(certificate: Certificate, password: str) -> None:
    box, (file, context) = Mailbox(), certificate
    with Server(box, tls_context=context, authenticator=authenticate, auth_required=True) as server:
        sender = gateway(server.port, ca_file=str(file), use_tls=True, username="beatdesk", password=password)
        with pytest.raises(NotHandedOver) as caught:
            sender.send(mail())
    assert caught.value.notice
    assert password not in str(caught.value)
    assert box.contents == []


def test_server_without_sign_in_is_reported() -> None:
    with ScriptedServer({}) as server, pytest.raises(NotHandedOver) as caught:
        gateway(server.port, username="beatdesk", password="right").send(mail())
    assert caught.value.notice
