"""The morning report by email."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.runs.making import make_run
from tests.visitors import Visitor, add_user
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit
from webapp.mail import service
from webapp.mail_store.models import Mail
from webapp.report import mailing
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def wants(app: Flask, role: str) -> int:
    """A person with this role who wants it."""
    return add_user(app, f"{role}@example.com", role, wants_report_mail=True)


def test_it_goes_once_to_those_who_want_it_and_may_see_runs(context: Flask) -> None:
    viewer, _ = wants(context, "viewer"), wants(context, "member")
    add_user(context, "admin@example.com", "admin")
    make_run(RunState.FAILED, created_at=now() - timedelta(hours=25), error="ValueError: <b>no</b>")
    assert mailing.send_reports(now()) == 1
    assert mailing.send_reports(now()) == 0
    (mail,) = db.session.scalars(sa.select(Mail))
    assert mail.user_id == viewer
    assert mail.kind == "report"


def test_its_subject_is_the_first_line(context: Flask) -> None:
    wants(context, "viewer")
    day = timedelta(days=1)
    for age in (timedelta(minutes=1), day):
        make_run(RunState.FAILED, created_at=now() - age, error="ValueError: <b>no</b>")
    mailing.send_reports(now())
    (mail,) = db.session.scalars(sa.select(Mail))
    made = service.compose(mail)
    assert made.subject.endswith("1 kind of failure open.")
    assert "ValueError: <b>no</b> (add, " in made.text
    assert "&lt;b&gt;no" in made.html


def test_it_says_what_did_not_run_and_who_changed_what_in_words(context: Flask) -> None:
    wants(context, "viewer")
    at = now() - timedelta(days=1)
    schedule: dict[str, Any] = {"schedule_id": 7, "schedule_name": "nightly"}
    make_run(RunState.MISSED, created_at=at, due_at=at, **schedule)
    make_run(RunState.SKIPPED, created_at=at, due_at=at + timedelta(seconds=1), reason="paused", **schedule)
    make_run(RunState.SUCCEEDED, created_at=at, due_at=at - timedelta(minutes=9), started_at=at, **schedule)
    audit.record(db.session, "schedule.update", "schedule", 7, "nightly").at = at
    db.session.commit()
    mailing.send_reports(now())
    (mail,) = db.session.scalars(sa.select(Mail))
    lines = service.compose(mail).text.splitlines()
    for line in ("nightly: 1 missed", "nightly: 1 skipped, paused", "nightly: late by 9 min"):
        assert f"- {line}" in lines
    assert "- system: update schedule nightly" in lines


def test_it_is_chosen_in_ones_account(context: Flask) -> None:
    viewer = Visitor(context, "viewer")
    assert "morning report" in viewer.get("/account").text
    profile = {"name": "Maya", "timezone": "UTC"}
    saved = viewer.post_json("/account", {**profile, "wants_report_mail": True}, page="/account")
    assert saved.get_json()["wants_report_mail"] is True
    assert viewer.post_json("/account", profile, page="/account").get_json()["wants_report_mail"] is False
    assert "morning report" not in Visitor(context, "member").get("/account").text
