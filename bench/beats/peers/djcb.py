"""django-celery-beat, on PostgreSQL, in the smallest Django project that carries it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import django
from django.conf import settings

from bench.beats.peers.common import DATABASE, Peer, by_schedule, in_process, make_app
from bench.beats.plan import TASK, Item

SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"


def _database() -> dict[str, Any]:
    parts = urlsplit(DATABASE)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "HOST": parse_qs(parts.query)["host"][0],
        # Kept open, as its documentation advises for a long-lived process.
        "CONN_MAX_AGE": None,
    }


settings.configure(
    DATABASES={"default": _database()},
    INSTALLED_APPS=["django_celery_beat"],
    USE_TZ=True,
    TIME_ZONE="UTC",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.core.management import call_command  # noqa: E402 - Django must be set up before its models are imported
from django.db import connection, transaction  # noqa: E402 - as above
from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks  # noqa: E402 - as above

app = make_app()

_executed = 0


def _count(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
    global _executed  # noqa: PLW0603 - a counter of the process
    _executed += 1
    return execute(sql, params, many, context)


def statements() -> int:
    """How many SQL statements this process has executed, once counting began."""
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)
    return _executed


def fill(items: list[Item]) -> None:
    """Write the rows in bulk."""
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        rules = {
            every: IntervalSchedule.objects.create(every=every, period=IntervalSchedule.SECONDS)
            for every in {item.every for item in items}
        }
        rows = (
            PeriodicTask(
                name=item.name,
                task=TASK,
                args=json.dumps([item.name]),
                queue=item.queue,
                interval=rules[item.every],
                last_run_at=item.last_run,
                total_run_count=1,
            )
            for item in items
        )
        PeriodicTask.objects.bulk_create(rows, batch_size=1000)
        PeriodicTasks.update_changed()


def edit(name: str, every: float) -> None:
    """Give a schedule another interval."""
    rule, _ = IntervalSchedule.objects.get_or_create(every=every, period=IntervalSchedule.SECONDS)
    task = PeriodicTask.objects.get(name=name)
    task.interval = rule
    task.save()


peer = Peer(start=lambda: in_process(app, SCHEDULER), fill=fill, edit=edit, applied=by_schedule, statements=statements)
