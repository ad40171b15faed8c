"""Our due times beside cronsim's, which follows Debian's cron.

Left out, because the two do not mean the same:

- a restricted day of month together with a restricted day of week: cron fires when either matches, Celery when both do;
- ranges that wrap around (`fri-mon`), 7 for Sunday, `L`, `#`: only one of them reads these;
- due times at or before the moment of the question: cronsim forgets in which pass of a repeated hour it was asked, so
  for a fixed time it starts with the first pass again. Two skipped times that fire together after the gap count once;
- wildcards in zones whose clock ever changes by part of an hour, at another minute than 0, or skips a midnight: cronsim
  walks in whole hours and takes each midnight as existing, so it leaves out times there (shown below for Lord Howe,
  Chatham and Santiago). The next test covers them with the definition itself, minute by minute.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from celery.schedules import crontab as celery_crontab
from cronsim import CronSim

from tests.scheduler.generated import ZONES, changes, crontab_line, moment
from webapp.recurrence import Crontab, Recurrence, due_times, next_due_timestamp
from webapp.recurrence.cron import compiled
from webapp.recurrence.zones import zone

AGREEMENTS = 10_000
_HOUR = 3600


def cronsim_walks_right(line: str, name: str) -> bool:
    if not compiled(Crontab.from_line(line), name).wild:
        return True
    return all(change.at_whole_hours and not change.skips_a_midnight for change in changes(name))


def by_cronsim(line: str, tz: ZoneInfo, after: int, count: int) -> list[int]:
    simulated = CronSim(line, datetime.fromtimestamp(after, tz))
    instants: list[int] = []
    for due in islice(simulated, 500):
        instant = int(due.timestamp())
        if instant > after and instant not in instants:
            instants.append(instant)
        if len(instants) == count:
            break
    return instants


def ours(line: str, name: str, after: int, count: int) -> list[int]:
    recurrence = Recurrence(Crontab.from_line(line), name)
    return [int(due.utc.timestamp()) for due in due_times(recurrence, datetime.fromtimestamp(after, UTC), count)]


def test_ten_thousand_generated_cases_agree_with_cronsim() -> None:
    chance = random.Random(20261101)
    agreed: dict[str, int] = dict.fromkeys(ZONES, 0)
    while sum(agreed.values()) < AGREEMENTS:
        line, name = crontab_line(chance), chance.choice(ZONES)
        if not cronsim_walks_right(line, name):
            continue
        after, count = moment(name, chance), chance.choice((1, 2, 4))
        assert ours(line, name, after, count) == by_cronsim(line, zone(name), after, count), (line, name, after)
        agreed[name] += 1
    assert min(agreed.values()) >= 100, "every zone takes part"


Passed = list[list[datetime]]
"""For successive minutes of real time: what a wall clock shows, then what it passed that it had not shown before."""


def read_the_clock(name: str, begin: int, minutes: int) -> Passed:
    readings: Passed = []
    latest = datetime.fromtimestamp(begin, zone(name)).replace(tzinfo=None)
    for number in range(1, minutes):
        shown = datetime.fromtimestamp(begin + 60 * number, zone(name)).replace(tzinfo=None)
        new = [
            latest + timedelta(minutes=skipped) for skipped in range(1, (shown - latest) // timedelta(minutes=1) + 1)
        ]
        readings.append([shown, *new])
        latest = max(latest, shown)
    return readings


def by_definition(line: str, begin: int, readings: Passed) -> list[int]:
    """Return the due instants. The fields are read by Celery itself.

    A wildcard is due whenever the clock shows a matching minute. A fixed time is due when the clock passes it for the
    first time, be it by jumping over it.
    """
    minute, hour, day, month, weekday = line.split()
    fields = celery_crontab(minute, hour, weekday, day, month)

    def matches(wall: datetime) -> bool:
        return (
            wall.minute in fields.minute
            and wall.hour in fields.hour
            and wall.day in fields.day_of_month
            and wall.month in fields.month_of_year
            and wall.isoweekday() % 7 in fields.day_of_week
        )

    wild = minute.startswith("*") or hour.startswith("*")
    return [
        begin + 60 * number
        for number, (shown, *new) in enumerate(readings, 1)
        if (matches(shown) if wild else any(map(matches, new)))
    ]


def by_timestamps(line: str, name: str, begin: int, end: int) -> list[int]:
    recurrence, found = Recurrence(Crontab.from_line(line), name), []
    due = next_due_timestamp(recurrence, begin)
    while due is not None and due < end:
        found.append(int(due))
        due = next_due_timestamp(recurrence, due)
    return found


def test_every_change_of_clocks_agrees_with_the_definition_minute_by_minute() -> None:
    chance = random.Random(42)
    compared = 0
    for name in ZONES:
        nearby = changes(name)
        for change in chance.sample(nearby, min(8, len(nearby))):
            begin = (change.instant - 5 * _HOUR) // 60 * 60
            minutes = 60 * (14 if abs(change.after - change.before) < 12 * _HOUR else 60)
            readings = read_the_clock(name, begin, minutes)
            for _ in range(40):
                line = crontab_line(chance)
                found = by_timestamps(line, name, begin, begin + 60 * minutes)
                assert found == by_definition(line, begin, readings), (line, name, begin)
                compared += 1
    assert compared >= 3_000


def test_lord_howe_chatham_and_santiago_show_why_cronsim_is_no_oracle_for_wildcards_there() -> None:
    before_half_hour = int(datetime.fromisoformat("2027-10-03T01:46:00+10:30").timestamp())
    assert by_cronsim("45 * * * *", zone("Australia/Lord_Howe"), before_half_hour, 1) != ours(
        "45 * * * *", "Australia/Lord_Howe", before_half_hour, 1
    )
    (there,) = ours("45 * * * *", "Australia/Lord_Howe", before_half_hour, 1)
    assert there - before_half_hour == 29 * 60, "01:46 plus 29 minutes reads 02:45, half an hour being skipped"

    before_quarter_to_three = int(datetime.fromisoformat("2027-09-26T01:50:00+12:45").timestamp())
    (there,) = ours("*/5 3 * * *", "Pacific/Chatham", before_quarter_to_three, 1)
    assert [there] != by_cronsim("*/5 3 * * *", zone("Pacific/Chatham"), before_quarter_to_three, 1)
    assert there - before_quarter_to_three == 55 * 60, "02:45 is 03:45 at once, in an hour that it names"

    before_midnight = int(datetime.fromisoformat("2027-09-04T12:00:00-04:00").timestamp())
    line = "*/15 0 5 9 *"
    simulated = by_cronsim(line, zone("America/Santiago"), before_midnight, 1)
    assert datetime.fromtimestamp(simulated[0], zone("America/Santiago")).hour == 1, "not an hour that it names"
