"""Every blueprint, in one list."""

from __future__ import annotations

from flask import Flask

from webapp.accounts.audit_views import blueprint as audit
from webapp.accounts.views import blueprint as accounts
from webapp.failures.views import blueprint as failures
from webapp.live.views import blueprint as live
from webapp.mail.views import blueprint as mail
from webapp.overview.metrics_views import blueprint as metrics
from webapp.overview.theme import blueprint as theme
from webapp.overview.views import blueprint as overview
from webapp.people.account_views import blueprint as account
from webapp.people.views import blueprint as people
from webapp.report.views import blueprint as report
from webapp.runs.add_numbers import blueprint as add_numbers
from webapp.runs.list.bulk_views import blueprint as bulk
from webapp.runs.list.export import blueprint as export
from webapp.runs.page.views import blueprint as run_parts
from webapp.runs.retention.views import blueprint as retention
from webapp.runs.views import blueprint as runs
from webapp.schedules.calendar.moving_views import blueprint as schedule_moves
from webapp.schedules.calendar.views import blueprint as schedule_calendar
from webapp.schedules.editor.views import blueprint as schedule_editor
from webapp.schedules.inquiries.views import blueprint as inquiries
from webapp.schedules.list.bulk_views import blueprint as schedules_bulk
from webapp.schedules.pausing.views import blueprint as pauses
from webapp.schedules.transfer.views import blueprint as schedules_transfer
from webapp.schedules.views import blueprint as schedules
from webapp.workers.views import blueprint as workers

BLUEPRINTS = (
    overview,
    metrics,
    theme,
    accounts,
    account,
    audit,
    people,
    mail,
    schedules,
    runs,
    failures,
    report,
    live,
    add_numbers,
    workers,
    bulk,
    export,
    run_parts,
    retention,
    inquiries,
    schedule_editor,
    schedules_bulk,
    schedule_calendar,
    schedule_moves,
    schedules_transfer,
    pauses,
)


def register_routes(app: Flask) -> None:
    """Add every page to the application."""
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
