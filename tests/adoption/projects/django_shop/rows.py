"""`python -m …rows SEED`: adds schedules of all kinds, and prints when django-celery-beat would fire each next.

It prints one JSON object: from the name of a schedule to its next due times, in UTC, after the moment `AFTER`.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import django

from tests.adoption.projects.django_shop.app import app

django.setup()
app.set_default()

from django_celery_beat import models  # noqa: E402 - Django must be set up before its models are imported

# Before the rows, and at no place near a change of the clocks.
AFTER = datetime(2027, 6, 15, 10, 2, 7, tzinfo=UTC)
COUNT = 5
ZONES = ("UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu", "Australia/Sydney")
FIELDS = {
    "minute": ("*", "*/7", "0", "5,35", "10-20"),
    "hour": ("*", "*/5", "3", "8-17"),
    "day_of_week": ("*", "mon-fri", "0", "6", "1,3"),
    "day_of_month": ("*", "1-20", "*/2", "13"),
    "month_of_year": ("*", "6-8", "*/3"),
}


def main(seed: str) -> None:
    """Add the rows and print their due times."""
    chance = random.Random(seed)
    print(json.dumps({task.name: _due(task) for task in _rows(chance)}))  # noqa: T201 - read by the test


def _rows(chance: random.Random) -> list[Any]:
    made = []
    for number in range(40):
        fields = {name: chance.choice(choices) for name, choices in FIELDS.items()}
        rule = models.CrontabSchedule.objects.create(**fields, timezone=ZoneInfo(chance.choice(ZONES)))
        made.append(_task(f"crontab {number}", crontab=rule))
    for number in range(20):
        every, period = chance.randrange(1, 50), chance.choice(("seconds", "minutes", "hours", "days"))
        rule = models.IntervalSchedule.objects.create(every=every, period=period)
        # As after years of running: it has run at some moment before.
        last = AFTER.replace(year=2026) - timedelta(seconds=chance.randrange(5_000_000))
        made.append(_task(f"interval {number}", interval=rule, last_run_at=last, total_run_count=7))
    for number, event in enumerate(("sunrise", "sunset", "dusk_civil")):
        rule = models.SolarSchedule.objects.create(event=event, latitude=48.2, longitude=16.37)
        made.append(_task(f"solar {number}", solar=rule))
    rule = models.ClockedSchedule.objects.create(clocked_time=AFTER + timedelta(days=3))
    made.append(_task("clocked", clocked=rule, one_off=True))
    rule = models.IntervalSchedule.objects.create(every=1, period="hours")
    _task("disabled", interval=rule, enabled=False, expire_seconds=90)
    _task("has run", interval=rule, one_off=True, total_run_count=1)
    _task("nobody's", interval=rule, task="nobody.knows")
    _task(
        "all of it", interval=rule, args="[1]", kwargs='{"call": "x"}', queue="orders", priority=7,
        start_time=AFTER, expires=AFTER + timedelta(days=9), headers='{"tenant": "a"}', description="What it is for.",
    )  # fmt: skip
    return made


def _task(name: str, **values: Any) -> Any:
    return models.PeriodicTask.objects.create(name=name, **{"task": "django_shop.record", **values})


def _due(task: Any) -> list[str]:
    """The next due times as its schedule computes them, each from the one before."""
    task.refresh_from_db()
    if task.clocked:
        return [task.clocked.clocked_time.isoformat()]
    schedule = task.schedule
    found: list[str] = []
    last = task.last_run_at or AFTER
    while len(found) < COUNT:
        if task.interval:
            last += schedule.run_every
            if last <= AFTER:
                # The grid from its last run on, without all the times that have passed.
                last += (AFTER - last) // schedule.run_every * schedule.run_every
                continue
        else:
            # Crontabs count in their own zone, as `TzAwareCrontab.is_due` makes them do.
            local = last.astimezone(schedule.tz if task.crontab else UTC)
            schedule.nowfun = lambda moment=local: moment
            last = (local + schedule.remaining_estimate(local)).astimezone(UTC)
        found.append(last.isoformat())
    return found


if __name__ == "__main__":
    main(sys.argv[1])
