"""The schedules that the code defines: the one place for them.

Beat writes them into the database when it first sees them; from then on they are edited like any other, and an admin's
edit survives a restart.
"""

from __future__ import annotations

from typing import Any

from celery.schedules import crontab

BIRTHDAYS = "send-birthday-emails"
OLD_RUNS = "delete-old-runs"

# In Celery's own form for `beat_schedule`. Times are meant in the setting TIMEZONE.
SCHEDULES: dict[str, dict[str, Any]] = {
    BIRTHDAYS: {
        "task": "people.send_birthday_emails",
        "schedule": crontab(hour="8", minute="0"),
    },
    # At night, when least is written. For how long runs are kept is set at /runs/retention.
    OLD_RUNS: {
        "task": "runs.retain",
        "schedule": crontab(hour="3", minute="20"),
    },
}
