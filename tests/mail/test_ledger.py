"""The rows of emails: each is sent once, and each outcome is recorded. Real database, real SMTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.mail.servers import Action, Mailbox, ScriptedServer, Server
from tests.support import add_person
from webapp.config import MailSettings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry, User
from webapp.mail import service
from webapp.mail.errors import InDoubt, NotHandedOver, Refused
from webapp.mail.gateway import Gateway
from webapp.mail_store import outbox
from webapp.mail_store.models import Mail, MailState, SuppressedAddress
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.web.errors import Conflict

pytestmark = pytest.mark.each_database


@pytest.fixture
def person(context: Flask) -> User:
    return add_person("maya@example.com")


@pytest.fixture
def mailbox(context: Flask) -> Iterator[Mailbox]:
    box = Mailbox()
    with Server(box) as server:
        use_port(context, server.port)
        yield box


def use_port(app: Flask, port: int) -> None:
    settings = app.extensions["settings"]
    app.extensions["gateway"] = Gateway(MailSettings(port=port, timeout=20), settings.secret_key)


def enqueue(person: User, key: str = "birthday:1:2026") -> Mail:
    added = outbox.enqueue(db.session, key=key, kind="birthday", user=person)
    db.session.commit()
    assert added is not None
    return added[0]


def deliver(mail: Mail) -> str:
    assert mail.run_id is not None
    return service.deliver(mail.id, mail.run_id)


def reloaded(mail: Mail) -> Mail:
    db.session.rollback()
    found = db.session.get(Mail, mail.id, populate_existing=True)
    assert found is not None
    return found


def test_a_message_and_its_run_are_written_together(person: User) -> None:
    mail = enqueue(person)
    run = db.session.get(Run, mail.run_id)
    assert run is not None
    assert (run.task, run.args, run.state) == ("mail.send_mail", f"[{mail.id}]", RunState.QUEUED)
    assert (mail.state, mail.recipient, mail.attempts) == (MailState.PENDING, "maya@example.com", 0)


def test_a_second_message_with_the_same_key_is_not_made(person: User) -> None:
    enqueue(person)
    assert outbox.enqueue(db.session, key="birthday:1:2026", kind="birthday", user=person) is None
    db.session.commit()
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Mail)) == 1
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Run)) == 1


def test_it_is_sent_once_however_often_it_is_delivered(person: User, mailbox: Mailbox) -> None:
    mail = enqueue(person)
    assert deliver(mail) == "sent to maya@example.com"
    assert deliver(mail) == "not sent: the email is sent already"
    assert len(mailbox.contents) == 1
    sent = reloaded(mail)
    assert (sent.state, sent.attempts, sent.error) == (MailState.SENT, 1, None)
    assert sent.message_id == mailbox.messages[0]["Message-ID"]
    assert sent.subject == mailbox.messages[0]["Subject"]


def test_a_birthday_mail_can_be_unsubscribed_with_one_click(context: Flask, person: User, mailbox: Mailbox) -> None:
    deliver(enqueue(person))
    link = mailbox.messages[0]["List-Unsubscribe"].strip("<>")
    assert mailbox.messages[0]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    path = link.removeprefix(context.extensions["settings"].public_url)
    browser = context.test_client()
    assert browser.get(path).status_code == 200
    assert db.session.scalar(sa.select(User.wants_birthday_mail)) is True
    assert browser.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert browser.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    db.session.rollback()
    assert db.session.scalar(sa.select(User.wants_birthday_mail)) is False
    assert db.session.scalars(sa.select(AuditEntry.action)).all() == ["person.unsubscribe"]


def test_a_forged_unsubscribe_link_changes_nothing(context: Flask, person: User) -> None:
    assert context.test_client().post("/unsubscribe/WzEsImJpcnRoZGF5Il0.forged").status_code == 404
    assert db.session.scalar(sa.select(User.wants_birthday_mail)) is True


def test_what_was_not_handed_over_is_tried_again_by_a_held_run(context: Flask, person: User) -> None:
    mail = enqueue(person)
    with ScriptedServer({"rcpt": b"451 try later"}) as server:
        use_port(context, server.port)
        with pytest.raises(NotHandedOver):
            deliver(mail)
    waiting = reloaded(mail)
    again = db.session.get(Run, waiting.run_id)
    assert again is not None
    assert (waiting.state, waiting.attempts) == (MailState.PENDING, 1)
    assert (again.state, again.origin) == (RunState.HELD, Origin.RETRY)
    assert again.retry_of is not None
    assert again.eta == waiting.next_attempt_at
    assert again.eta is not None
    assert timedelta(seconds=40) < again.eta - now() < timedelta(seconds=80)


def test_it_is_given_up_after_the_last_attempt(context: Flask, person: User) -> None:
    mail = enqueue(person)
    with ScriptedServer({"rcpt": b"451 try later"}) as server:
        use_port(context, server.port)
        for _ in range(6):
            with pytest.raises(NotHandedOver):
                deliver(reloaded(mail))
    given_up = reloaded(mail)
    assert (given_up.state, given_up.attempts) == (MailState.FAILED, 6)
    assert "Failed after 6 attempts" in (given_up.error or "")


def test_a_refused_address_gets_no_further_mail(context: Flask, person: User) -> None:
    mail = enqueue(person)
    with ScriptedServer({"rcpt": b"550 5.1.1 no such person"}) as server:
        use_port(context, server.port)
        with pytest.raises(Refused):
            deliver(mail)
        assert reloaded(mail).state == MailState.SUPPRESSED
        suppressed = db.session.get(SuppressedAddress, "maya@example.com")
        assert suppressed is not None
        assert "no such person" in suppressed.reason
        commands = len(server.commands)
        later = enqueue(person, "birthday:1:2027")
        assert deliver(later) == "not sent: the address is suppressed"
        assert len(server.commands) == commands
    assert reloaded(later).state == MailState.SUPPRESSED


def test_no_answer_after_the_end_is_in_doubt_and_not_sent_again(context: Flask, person: User) -> None:
    mail = enqueue(person)
    with ScriptedServer({"end": Action.DROP}) as server:
        use_port(context, server.port)
        with pytest.raises(InDoubt):
            deliver(mail)
        assert deliver(reloaded(mail)) == "not sent: the email is in doubt already"
        assert len(server.contents) == 1
    assert reloaded(mail).state == MailState.IN_DOUBT


def test_a_worker_lost_while_sending_leaves_it_in_doubt(person: User, mailbox: Mailbox) -> None:
    mail = enqueue(person)
    mail.state = MailState.SENDING
    db.session.commit()
    with pytest.raises(InDoubt):
        deliver(mail)
    assert reloaded(mail).state == MailState.IN_DOUBT
    assert mailbox.contents == []


def test_an_admin_decides_about_a_message_in_doubt(person: User, mailbox: Mailbox) -> None:
    again, settled = enqueue(person, "a"), enqueue(person, "b")
    for mail in (again, settled):
        mail.state = MailState.IN_DOUBT
    db.session.commit()
    service.send_again(again.id)
    assert deliver(reloaded(again)) == "sent to maya@example.com"
    assert service.settle(settled.id).state == MailState.SENT
    with pytest.raises(Conflict):
        service.settle(settled.id)
    assert len(mailbox.contents) == 1
    actions = db.session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["mail.send again", "mail.settle"]
