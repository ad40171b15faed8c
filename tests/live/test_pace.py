"""The rate at which a stream may push."""

from __future__ import annotations

from webapp.live.pace import BURST, MAX_FETCHES_PER_SECOND, NEWS_INTERVAL, Pace, interval_for


def pushes_within(seconds: float, interval: float) -> int:
    """The number of pushes if there is always news."""
    pace, at, count = Pace(0.0), 0.0, 0
    pace.interval = interval
    while (at := pace.ready_at(at)) <= seconds:
        pace.take(at)
        count += 1
    return count


def test_first_changes_are_pushed_immediately() -> None:
    pace = Pace(0.0)
    for _ in range(BURST):
        assert pace.ready_at(0.0) == 0.0
        pace.take(0.0)
    assert pace.ready_at(0.0) == NEWS_INTERVAL


def test_burst_costs_two_a_second() -> None:
    assert pushes_within(10.0, NEWS_INTERVAL) in range(20, 20 + BURST + 1)


def test_pause_fills_up_no_more_than_a_burst() -> None:
    pace = Pace(0.0)
    pace.ready_at(1000.0)
    for _ in range(BURST):
        pace.take(1000.0)
    assert pace.ready_at(1000.0) > 1000.0


def test_many_watchers_each_get_fewer_pushes() -> None:
    assert interval_for(1) == NEWS_INTERVAL
    each = pushes_within(1000.0, interval_for(100))
    # In the long run they fetch together no more often than a process can bear.
    assert 100 * each / 1000 <= MAX_FETCHES_PER_SECOND * 1.1
