"""The schedules that are defined in code, all of them.

Beat writes them into the database at its first start; from then on they are edited like any other, and an admin's edit
survives a restart.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

BIRTHDAYS = "send-birthday-emails"
OLD_RUNS = "delete-old-runs"
REPORTS = "send-morning-report"

# In the form of Celery's `beat_schedule`. Times are in the zone of the setting TIMEZONE.
SCHEDULES: dict[str, dict[str, Any]] = {
    BIRTHDAYS: {
        "task": "people.send_birthday_emails",
        "schedule": crontab(hour="8", minute="0"),
    },
    # At night, when the load is lowest. How long runs are kept is set at /runs/retention.
    OLD_RUNS: {
        "task": "runs.retain",
        "schedule": crontab(hour="3", minute="20"),
    },
    # When the day that it covers is over.
    REPORTS: {
        "task": "report.send_morning_reports",
        "schedule": crontab(hour="8", minute="0"),
    },
}
