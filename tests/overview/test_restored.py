"""After a backup was restored, every page says what may repeat, until a person has decided on each."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.support import fresh
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.overview.restored import restored
from webapp.run_store.models import Run
from webapp.run_store.states import RESTORED, RunState
from webapp.schedule_store.models import SchedulePause

pytestmark = pytest.mark.each_database


def test_persons_decide_on_what_may_repeat(context: Flask) -> None:
    admin = Visitor(context, "admin")
    assert list(restored()) == []
    db.session.rollback()
    ran, lost = (make_run(RunState.UNCONFIRMED, reason=RESTORED, ended_at=now()) for _ in range(2))
    restored_at = now()
    db.session.add(SchedulePause(reason=RESTORED, starts_at=restored_at - timedelta(hours=1), ends_at=restored_at))
    mail = Mail(key="welcome:1", kind="welcome", recipient="a@example.com", state=MailState.IN_DOUBT, error=RESTORED)
    mail.ended_at = now()
    db.session.add(mail)
    db.session.commit()
    mail_id = mail.id
    [sign] = restored()
    assert "2 runs and 1 email from before" in sign.text
    assert sign.since == restored_at
    db.session.rollback()
    assert RESTORED in admin.get(f"/runs/{ran}").text
    assert admin.post(f"/runs/{ran}/confirm").status_code == 303
    assert fresh(Run, ran).state == RunState.SUCCEEDED
    assert admin.post(f"/runs/{lost}/send-again").status_code == 303
    assert fresh(Run, lost).state == RunState.QUEUED
    assert ["backup. 1 email from before" in sign.text for sign in restored()] == [True]
    db.session.rollback()
    assert admin.post(f"/mail/{mail_id}/settle").status_code == 303
    assert list(restored()) == []
    db.session.rollback()
