"""The calendar's load: runs, their typical duration and slots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from webapp.recurrence import Crontab, Interval, Recurrence
from webapp.run_store.message import Destination
from webapp.schedule_store.pauses import Pause, spans
from webapp.schedules.calendar import load
from webapp.schedules.calendar.due_index import Group, When
from webapp.schedules.calendar.load import Load, bursts, calmest
from webapp.schedules.calendar.run_times import UNKNOWN, usual
from webapp.workers.capacity import Pool

MONDAY = int(datetime(2027, 1, 4, tzinfo=UTC).timestamp())
DAY = 1440


def at(hours: int) -> datetime:
    """So many hours after the Monday's midnight."""
    return datetime.fromtimestamp(MONDAY, UTC) + timedelta(hours=hours)


def group(line: str, *, queue: str = "celery", jitter: float = 0.0, pause: tuple[float, float] | None = None) -> Group:
    when = When(Recurrence(Crontab.from_line(line), jitter=jitter), 0, *(pause or (None, None)))
    return Group(when, "add", Destination(queue, "", queue))


def load_of(groups: dict[Group, int], seconds: float = 60.0, slots: int = 2, minutes: int = DAY) -> Load:
    """With so many schedules in each group."""

    def lengths(_group: Group, _ids: Sequence[int]) -> list[float]:
        return [seconds]

    members = {found: range(count) for found, count in groups.items()}
    pools = [Pool(("celery",), slots), Pool(("slow",), 1)]
    return load.compute_load(members, (MONDAY, minutes), pools, lambda found: found.aim.routing_key, lengths)


def test_fires_and_work_are_counted_in_their_pool() -> None:
    found = load_of({group("0 6 * * *"): 5, group("30 * * * *", queue="slow"): 1})
    celery, slow = found.pools
    assert (celery.fires[360], celery.work[360], sum(celery.fires)) == (5, 300.0, 5)
    assert (sum(slow.fires), slow.fires[30]) == (24, 1)


def test_what_a_wide_pause_holds_does_not_fire() -> None:
    nightly, other = group("0 6 * * *")._replace(tags=frozenset({"reports"})), group("0 6 * * *", jitter=1.0)
    pause = Pause(1, frozenset({"reports"}), "", "", at(5), at(7))
    everything = Pause(2, frozenset(), "", "", at(30), None)

    def fires(*pauses: Pause) -> int:
        found = load.compute_load(
            {nightly: [1, 2], other: [3]},
            (MONDAY, 2 * DAY),
            [Pool(("celery",), 1)],
            lambda _group: "celery",
            lambda _group, _ids: [1.0],
            quiet=lambda tags: spans(pauses, tags),
        )
        return sum(found.pools[0].fires)

    assert (fires(), fires(pause), fires(pause, everything), fires(everything)) == (6, 4, 1, 3)


def test_what_has_no_slot_waits() -> None:
    (celery, _slow) = load_of({group("0 6 * * *"): 7, group("2 6 * * *"): 1}).pools
    # Two at a time, a minute each: the seventh begins after three minutes.
    assert celery.waits[360] == pytest.approx(180)
    # After two minutes four are done and three minutes of work are left for two slots.
    assert celery.waits[362] == pytest.approx(90)
    assert [burst.minute for burst in bursts(celery, 360, 420)] == [360]


def test_many_at_once_are_a_burst_though_none_waits_long() -> None:
    (celery, _slow) = load_of({group("0 6 * * *"): 12, group("*/5 * * * *"): 3}, seconds=0.01, slots=8).pools
    (burst,) = bursts(celery, 360, 420)
    assert (burst.fires, burst.exceeds) == (15, False)
    assert list(bursts(celery, 420, 480)) == []


def test_a_long_run_keeps_its_slot() -> None:
    (celery, _slow) = load_of({group("0 6 * * *"): 1}, seconds=150).pools
    assert [round(busy, 3) for busy in celery.busy[359:364]] == [0, 1, 1, 0.5, 0]


def test_a_jitter_spreads_no_further_than_the_next_due_time() -> None:
    (celery, _slow) = load_of({group("*/5 6 * * *", jitter=3600): 10}).pools
    assert list(celery.fires[6 * 60 : 7 * 60]) == [2] * 60
    assert sum(celery.fires) == 120


def test_a_jitter_spreads() -> None:
    (celery, _slow) = load_of({group("0 6 * * *", jitter=600): 20}).pools
    assert list(celery.fires[360:370]) == [2] * 10


def test_a_pause_fires_nothing() -> None:
    pause = (MONDAY + 6 * 3600, MONDAY + 8 * 3600)
    (celery, _slow) = load_of({group("0 * * * *", pause=pause): 1}).pools
    assert [hour for hour in range(24) if not celery.fires[60 * hour]] == [6, 7]


def test_the_calmest_minute_is_free_for_the_whole_run_and_far_from_others() -> None:
    found = load_of({group("0 * * * *"): 4, group("10-29 * * * *"): 1}, minutes=DAY)
    hours = [60 * hour for hour in range(24)]
    assert calmest(found.pools[0], hours, 1, [0]) == 44
    assert calmest(found.pools[0], [60], 25, [0]) == 35
    assert calmest(found.pools[0], [], 1) is None


def test_load_that_takes_too_long_is_left_out_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MAX_STEPS", 1000)
    found = load_of({group("* * * * *"): 3, group("0 1 * * *"): 2, group("0 2 * * *"): 1})
    assert found.left_out == 3


def test_several_times_a_minute() -> None:
    start = datetime.fromtimestamp(MONDAY, UTC) - timedelta(days=1)
    often = Group(
        When(Recurrence(Interval(20, "seconds"), start=start), 0, None, None),
        "add",
        Destination("celery", "", "celery"),
    )
    assert set(load_of({often: 2}).pools[0].fires) == {6}


def test_usual_run_times() -> None:
    assert usual([]) == UNKNOWN
    found = usual([float(seconds) for seconds in range(1, 101)])
    assert (found.median, found.p95, found.runs) == (50.0, 95.0, 100)
    assert usual([1.234, 4.0]).median == 2.6
