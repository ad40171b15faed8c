"""Due times of the sun: the same as Celery's, from any start; no error where the sun does not rise or set."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.schedules import solar as celery_solar
from sqlalchemy_celery_beat.models import SolarEvent

from tests.scheduler.asking import at, local_times
from webapp.recurrence import SOLAR_EVENTS, Recurrence, Solar, due_times, next_due

TROMSO = (69.6496, 18.9560)


def by_celery(event: str, latitude: float, longitude: float, after: datetime) -> datetime:
    now: Any = lambda: after  # noqa: E731 - Celery wants a function
    schedule = celery_solar(event, latitude, longitude, nowfun=now, app=Celery(set_as_current=False))
    remaining: timedelta = schedule.remaining_estimate(after)
    return after + remaining


def test_events_are_those_of_the_tables() -> None:
    assert list(SOLAR_EVENTS) == [event.value for event in SolarEvent]


@pytest.mark.parametrize("event", SOLAR_EVENTS)
@pytest.mark.parametrize("place", [(27.7172, 85.3240), (51.5074, -0.1278), (-36.8485, 174.7633), (40.7128, -74.0060)])
def test_events_are_celerys_to_the_second(event: str, place: tuple[float, float]) -> None:
    after = at("2027-01-01T00:00:00Z")
    recurrence = Recurrence(Solar(event, *place))
    for days in range(0, 366, 13):
        moment = after + timedelta(days=days)
        ours = next_due(recurrence, moment)
        assert ours is not None
        assert abs(ours.utc - by_celery(event, *place, moment)) <= timedelta(seconds=1)


def test_tromso_sunrise_in_polar_night_is_skipped_until_the_sun_is_back() -> None:
    sunrise = Recurrence(Solar("sunrise", *TROMSO), "Europe/Oslo")
    found = due_times(sunrise, at("2026-11-20T00:00:00Z"), 12)
    gaps = [later.utc - earlier.utc for earlier, later in itertools.pairwise(found)]
    assert found[0].local.date().isoformat() == "2026-11-20"
    assert max(gaps) > timedelta(days=45)
    assert sorted(gaps)[-2] < timedelta(hours=25), "one long night, and otherwise every day"


def test_tromso_midnight_sun_is_skipped_too() -> None:
    sunset = Recurrence(Solar("sunset", *TROMSO), "Europe/Oslo")
    found = due_times(sunset, at("2027-05-10T00:00:00Z"), 40)
    gaps = [later.utc - earlier.utc for earlier, later in itertools.pairwise(found)]
    assert max(gaps) > timedelta(days=60)
    assert min(gaps) > timedelta(hours=22), "no sunset counts twice"


def test_the_same_event_whenever_it_is_asked() -> None:
    sunrise = Recurrence(Solar("sunrise", 27.7172, 85.3240), "Asia/Kathmandu")
    due = next_due(sunrise, at("2027-06-01T12:00:00Z"))
    assert due is not None
    asked = [due.utc - delay for delay in (timedelta(microseconds=1), timedelta(seconds=1), timedelta(hours=23))]
    assert {answer.utc for answer in (next_due(sunrise, moment) for moment in asked) if answer} == {due.utc}
    following = next_due(sunrise, due.utc)
    assert following is not None
    assert following.utc - due.utc > timedelta(hours=23)


def test_a_year_of_sunrises_has_one_each_day_also_beside_the_date_line() -> None:
    for longitude in (-179.9, 179.9, 0.0):
        found = due_times(Recurrence(Solar("sunrise", 10.0, longitude)), at("2027-01-01T00:00:00Z"), 365)
        gaps = {(later.utc - earlier.utc) > timedelta(hours=23) for earlier, later in itertools.pairwise(found)}
        assert gaps == {True}
        assert found[-1].utc < datetime(2028, 1, 2, tzinfo=UTC)


def test_kathmandu_sunrise_is_shown_in_local_time() -> None:
    sunrise = Recurrence(Solar("sunrise", 27.7172, 85.3240), "Asia/Kathmandu")
    assert local_times(sunrise, "2027-03-20T18:15:00Z", 1) == ["2027-03-21 06:07+05:45"]


def test_a_place_where_the_sun_never_does_that_is_searched_for_a_bounded_time() -> None:
    assert due_times(Recurrence(Solar("sunrise", 90.0, 0.0)), at("2027-01-01T00:00:00Z"), 1) == []
