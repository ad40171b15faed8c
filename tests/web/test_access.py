"""The permissions of each role, route by route."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.visitors import Visitor, add_user
from webapp.extensions import limiter
from webapp.web import access
from webapp.web.access import ROLES, Permission, Subject, granted, rule_of

# The endpoints that a role has and the role above it in this table has not; a "visitor" is not signed in.
ADDED = {
    "visitor": """
        accounts.choose accounts.confirm accounts.confirmation accounts.confirmation_sent accounts.forgot
        accounts.link_sent accounts.login accounts.logout accounts.reset accounts.send_confirmation
        accounts.send_link accounts.sign_in mail.unsubscribe mail.unsubscribe_now overview.answers overview.ready
        people.register people.registered people.registration_form static theme.choose_theme
    """,
    "member": """
        account.change_password account.show account.sign_out_elsewhere account.update add_numbers.result
        overview.index
    """,
    "viewer": """
        export.as_csv export.as_json failures.index live.run live.runs mail.index mail.show mail.show_html mail.wording
        mail.wording_html mail.wordings overview.what_is_wrong pauses.banner pauses.index pauses.show
        pauses.show_in_force run_parts.as_json run_parts.family run_parts.show runs.failed runs.index
        report.newest report.show
        runs.rejected_events runs.show schedule_calendar.hour schedule_calendar.minute schedule_calendar.week
        schedule_inquiries.rehearse schedule_inquiries.rehearse_as_csv schedule_inquiries.why schedules.index
        schedules.rows schedules.show schedules.show_in_force schedules.show_runs schedules_transfer.export_file
        workers.queues workers.workers
    """,
    "operator": """
        add_numbers.add add_numbers.form bulk.ask_cancel bulk.ask_retry bulk.cancel_all bulk.retry_all failures.decide
        mail.send_again mail.send_example mail.settle pauses.create pauses.delete pauses.resume pauses.update
        runs.cancel runs.confirm runs.create runs.new runs.retry runs.send_again schedule_inquiries.try_out
        schedules.pause schedules.resume schedules.run schedules.skip schedules.unskip schedules_bulk.pause
        schedules_bulk.run
    """,
    "scheduler": """
        schedule_editor.build schedule_editor.edit schedule_editor.show_arguments schedule_editor.show_preview
        schedule_moves.at_minute schedule_moves.move schedules.create schedules.delete schedules.disable
        schedules.enable schedules.new schedules.reset schedules.restore schedules.save schedules_bulk.edit
        schedules_transfer.import_file schedules_transfer.import_form
    """,
    "admin": """
        audit.index mail.letter mail.letter_html mail.local_mailbox metrics.show people.index people.show
        people.update retention.clean retention.save retention.show
    """,
}


def _allowed() -> Iterator[tuple[str, set[str]]]:
    endpoints: set[str] = set()
    for role, added in ADDED.items():
        endpoints = endpoints | set(added.split())
        yield role, endpoints


# Every endpoint that a role may use.
ALLOWED = dict(_allowed())


@pytest.fixture
def open_limits() -> Iterator[None]:
    limiter.enabled = False
    yield
    limiter.enabled = True


@pytest.mark.parametrize("role", ALLOWED)
def test_a_role_has_these_routes(app: Flask, role: str) -> None:
    rules = {rule.endpoint: rule_of(app, rule.endpoint) for rule in app.url_map.iter_rules()}
    held = {name for name, needed in rules.items() if needed and granted(needed, [role])}
    anonymous = {name for name, needed in rules.items() if needed is Permission.PUBLIC}
    assert (anonymous if role == "visitor" else held) == ALLOWED[role]


def test_a_role_is_one_line(app: Flask, open_limits: None, monkeypatch: pytest.MonkeyPatch) -> None:
    permissions = frozenset({Permission.PUBLIC, Permission.USE_ACCOUNT, Permission.VIEW_AUDIT})
    monkeypatch.setitem(ROLES, "auditor", (permissions, "Reads the audit"))
    number = add_user(app)
    add_user(app, "admin@example.com", "admin")
    admin, auditor = Visitor(app), Visitor(app)
    admin.sign_in("admin@example.com")
    assert "auditor: reads the audit" in admin.get(f"/people/{number}").text
    fields = {"name": "Maya", "timezone": "UTC", "roles": ["member", "auditor"], "active": "1"}
    assert admin.post(f"/people/{number}", fields, page="/account").status_code == 303
    auditor.sign_in()
    assert [auditor.get(path).status_code for path in ("/audit", "/account", "/runs")] == [200, 200, 403]


def test_a_scope_reaches_every_route_with_a_subject(
    app: Flask, open_limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def covers(_user: object, _permission: Permission, subject: object) -> bool:
        asked.append(subject)
        return subject is None

    monkeypatch.setattr(access, "covers", covers)
    add_user(app, "admin@example.com", "admin")
    admin = Visitor(app)
    admin.sign_in("admin@example.com")
    for path, subject in (
        ("/schedules/7", Subject("schedule", 7)),
        ("/schedules/7/why", Subject("schedule", 7)),
        ("/schedules/pauses/3", Subject("pause", 3)),
        ("/runs/x/family", Subject("run", "x")),
        ("/mail/5", Subject("mail", 5)),
    ):
        asked.clear()
        assert (admin.get(path).status_code, asked[0]) == (403, subject)
    assert admin.get("/schedules").status_code == 200
