"""Nothing that comes from outside can add a header, a recipient or a command."""

from __future__ import annotations

import flask_mail
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import gateway, mail
from tests.mail.servers import parse
from webapp.config import MailSettings
from webapp.mail.connection import GuardedMail
from webapp.mail.errors import UnsafeMessage
from webapp.mail.message import QuotableMessage, ascii_address, build, check_message

# Python takes each of these for the end of a header's line, or passes it through to a server that may.
BREAKS = [
    "\r",
    "\n",
    "\r\n",
    "\0",
    "\v",
    "\f",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\x7f",
    "\r\n ",
    "\t",
]
CLOSED_PORT = 1  # no server listens on it: everything below is refused before a connection is tried


@pytest.fixture(scope="module", name="carrier")
def _carrier() -> Flask:
    app = Flask(__name__)
    GuardedMail(app, MailSettings())
    return app


@pytest.mark.parametrize("text", BREAKS, ids=repr)
@pytest.mark.parametrize("field", ["recipient", "recipient_name", "subject"])
def test_line_breaks_in_a_field_are_refused(field: str, text: str) -> None:
    original = getattr(mail(), field)
    for value in (f"{original}{text}Bcc: evil@example.com", f"{text}{original}", f"{original}{text}"):
        with pytest.raises(UnsafeMessage):
            gateway(CLOSED_PORT).send(mail(**{field: value}))


@pytest.mark.parametrize("text", BREAKS, ids=repr)
def test_line_breaks_in_an_extra_header_are_refused(text: str) -> None:
    for headers in ({f"X-A{text}Bcc": "b"}, {f"X-A{text}": "b"}, {"X-A": f"b{text}Bcc: c"}, {"X-A": f"b{text}"}):
        with pytest.raises(UnsafeMessage):
            gateway(CLOSED_PORT).send(mail(headers=headers))


@pytest.mark.parametrize("text", BREAKS, ids=repr)
@pytest.mark.parametrize("field", ["sender", "reply_to", "msgId", "subject"])
def test_line_breaks_in_a_message_of_other_extensions_are_refused(carrier: Flask, field: str, text: str) -> None:
    with carrier.app_context():
        message = flask_mail.Message("Hi", recipients=["a@example.com"], sender="b@example.com", body="x")
        setattr(message, field, f"c@example.com{text}Bcc: d@example.com")
        with pytest.raises(UnsafeMessage):
            check_message(message)


@pytest.mark.parametrize(
    "name",
    ["Bcc", "bcc", "Cc", "To", "From", "Subject", "Message-ID", "Content-Type", "Resent-To", "", "A B", "A:", "Ä"],
)
def test_a_header_of_our_own_cannot_be_given(name: str) -> None:
    with pytest.raises(UnsafeMessage):
        gateway(CLOSED_PORT).send(mail(headers={name: "x@example.com"}))


@pytest.mark.parametrize(
    "address",
    [
        "",
        "local-part",
        "@example.com",
        "a@",
        "a@example.com, b@example.com",
        "a@example.com b@example.com",
        "Maya <a@example.com>",
        "<a@example.com>",
        "a@example.com> NOTIFY=NEVER",
        "a@b@example.com",
        '"a b"@example.com',
        "a..b@example.com",
        "a@-example.com",
        "a@exa mple.com",
        "a@[127.0.0.1]",
        "a@" + "x" * 64 + ".com",
        "a@" + "x." * 150 + "com",
        "jörg@example.com",
        "a@\ud800.com",
        "a@xn--\u00e4.com",
    ],
)
def test_what_is_not_one_address_is_refused_and_suppressed(address: str) -> None:
    with pytest.raises(UnsafeMessage) as caught:
        gateway(CLOSED_PORT).send(mail(recipient=address))
    assert caught.value.address_refused


@pytest.mark.parametrize(
    "more",
    [
        {"recipients": ["a@example.com", "b@example.com"]},
        {"recipients": []},
        {"recipients": ["a@example.com, b@example.com"]},
        {"recipients": ["a@example.com"], "cc": ["b@example.com"]},
        {"recipients": ["a@example.com"], "bcc": ["b@example.com"]},
        {"recipients": ["a@example.com"], "rcpt_options": ["NOTIFY=NEVER"]},
        {"recipients": ["a@example.com"], "attachments": [flask_mail.Attachment("a.txt", data="x")]},
    ],
)
def test_a_message_goes_to_one_recipient_and_nowhere_else(carrier: Flask, more: dict[str, object]) -> None:
    with carrier.app_context():
        message = flask_mail.Message("Hi", sender="b@example.com", body="x", **more)
        with pytest.raises(UnsafeMessage):
            check_message(message)


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(UnsafeMessage):
        gateway(CLOSED_PORT).send(mail(text="\ud800"))


ANY_TEXT = st.text(st.characters() | st.sampled_from("\r\n\0\v\f\x85\u2028:,<>@\"' =?"), max_size=60)
OWN = {"content-type", "mime-version", "subject", "from", "to", "date", "message-id", "auto-submitted"}


@settings(max_examples=300)
@given(name=ANY_TEXT, subject=ANY_TEXT, header=ANY_TEXT, address=ANY_TEXT)
def test_whatever_is_given_no_header_is_added_and_all_is_kept(
    carrier: Flask, name: str, subject: str, header: str, address: str
) -> None:
    with carrier.app_context():
        try:
            message = _build(name, subject, header, address)
        except UnsafeMessage:
            return
        raw = bytes(message)
    read = parse(raw)
    assert {key.lower() for key in read.keys()} <= OWN | {"x-note"}  # noqa: SIM118 - iterating gives values too
    assert len(read.get_all("To", [])) == 1
    assert [each.addr_spec for each in read["To"].addresses] == [message.recipients[0][1]]
    assert raw.split(b"\r\n\r\n")[0].count(b"\n") == raw.split(b"\r\n\r\n")[0].count(b"\r\n")


def _build(name: str, subject: str, header: str, address: str) -> QuotableMessage:
    # Half of the addresses are good ones, so that the rest is looked at too.
    recipient = address if len(address) % 2 else "maya@example.com"
    given = mail(recipient_name=name, subject=subject, recipient=recipient, headers={"X-Note": header})
    return build(given, sender=("", "a@example.com"), message_id="<1@example.com>")


@settings(max_examples=300)
@given(st.text(st.characters() | st.sampled_from("@.-a1"), max_size=40))
def test_an_address_is_refused_or_is_one_ascii_address(text: str) -> None:
    try:
        address = ascii_address(text)
    except UnsafeMessage:
        return
    assert address.isascii()
    assert address.isprintable()
    assert address.count("@") == 1
    assert not set(address) & set(' <>,;:"\\()[]')
