"""Crontabs from choices, crontabs in words, and zones as they are searched."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from webapp.recurrence import Crontab, Recurrence, describe, due_times
from webapp.recurrence.zone_search import like_zones, meant_zone, zone_options
from webapp.schedules.editor.crontab_builder import HOUR_STEPS, MONTH_CHOICES, NTH, STEPS, WEEK, build
from webapp.schedules.editor.crontab_parser import LINE, filled_in, read_back
from webapp.schedules.editor.explanation import clock_notes, crontab_parts, zone_words
from webapp.web.errors import Invalid

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("choices", "line", "words"),
    [
        ({}, "0 8 * * *", "every day at 08:00"),
        ({"time": "minutes", "step": "20", "from": "9", "to": "17", "days": "working"}, "*/20 9-16 * * mon-fri",
         "every 20 minutes, from 09:00 to 16:59, Monday to Friday"),
        ({"time": "hourly", "past": "5"}, "5 * * * *", "every hour, at 5 minutes past"),
        ({"time": "hours", "hours": "6", "past": "5"}, "5 */6 * * *", "every day at 00:05, 06:05, 12:05 and 18:05"),
        ({"time": "minutes", "step": "1", "from": "22", "to": "4"}, "* 22-3 * * *",
         "every minute, from 00:00 to 03:59 and from 22:00 to 23:59"),
        ({"at": "09:30", "days": "week", "week": "fri,mon"}, "30 9 * * mon,fri", "Monday and Friday at 09:30"),
        ({"at": "02:30", "days": "last", "of": "oct"}, "30 2 25-31 oct sun",
         "on the last Sunday of October at 02:30"),
        ({"days": "nth", "nth": "8", "weekday": "tue"}, "0 8 8-14 * tue",
         "on the second Tuesday of the month at 08:00"),
        ({"days": "last", "weekday": "fri", "of": "jun"}, "0 8 24-30 jun fri", "on the last Friday of June at 08:00"),
        ({"days": "month", "day": "31"}, "0 8 31 * *", "on day 31 of the month at 08:00"),
    ],
)  # fmt: skip
def test_choices_become_a_crontab(choices: dict[str, str], line: str, words: str) -> None:
    given = {f"build.{name}": value for name, value in choices.items()}
    assert build(given).line == line
    assert describe(Recurrence(Crontab.from_line(line))) == f"{words}, UTC"


@pytest.mark.parametrize(
    ("choices", "field", "words"),
    [
        ({"days": "last", "of": "*"}, "of", "Choose a month"),
        ({"days": "nth", "nth": "last"}, "nth", "Choose which"),
        ({"days": "week"}, "week", "at least one day"),
        ({"at": ""}, "at", "such as 08:30"),
        ({"time": "minutes", "step": "7"}, "step", "interval"),
        ({"time": "minutes", "from": "nine"}, "from", "whole number"),
        ({"days": "month", "day": "32"}, "day", "at most 31"),
        ({"days": "month", "day": "30", "month": "feb"}, "day", "February has no day 30"),
        ({"days": "month", "day": "31", "month": "jun"}, "day", "June has no day 31"),
        ({"month": "brumaire"}, "month", "Choose a month"),
    ],
)
def test_choice_without_a_crontab_is_refused_at_its_field(choices: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(Invalid) as raised:
        build({f"build.{name}": value for name, value in choices.items()})
    assert words in raised.value.fields[f"build.{field}"]


def test_builder_warns_about_surprising_crontabs() -> None:
    assert "leap year" in build({"build.days": "last", "build.of": "feb"}).note
    assert "leap years" in build({"build.days": "month", "build.day": "29", "build.month": "feb"}).note
    assert build({"build.days": "month", "build.day": "31", "build.month": "oct"}).note == ""
    assert "are skipped" in build({"build.days": "month", "build.day": "30"}).note


def test_the_last_sunday_of_october_in_berlin_runs_once_in_the_repeated_hour() -> None:
    line = build({"build.at": "02:30", "build.days": "last", "build.of": "oct"}).line
    first, second = due_times(Recurrence(Crontab.from_line(line), "Europe/Berlin"), NOW, 2)
    assert (first.utc.isoformat(), second.local.date().isoformat()) == ("2027-10-31T00:30:00+00:00", "2028-10-29")
    assert first.note == "clocks go back: first of two passes, runs only once"


def test_five_fields_are_described_one_by_one() -> None:
    parts = crontab_parts("*/20 25 31 feb")
    assert [part.words or part.error for part in parts] == [
        "0, 20 and 40", "25 is not an hour (0 to 23).", "31", "February", "",
    ]  # fmt: skip
    assert [part.words for part in crontab_parts("@weekly")] == ["0", "0", "every day", "every month", "Sunday"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("europe/berlin", "Europe/Berlin"),
        ("Kathmandu", "Asia/Kathmandu"),
        ("new york", "America/New_York"),
        ("Nepal", "Asia/Kathmandu"),
        ("Calcutta", "Asia/Kolkata"),
        ("Asia/Calcutta", "Asia/Calcutta"),
        ("Germany", None),
        ("Atlantis", None),
        ("", None),
    ],
)
def test_zones_are_found_by_city_and_country(typed: str, found: str | None) -> None:
    assert meant_zone(typed) == found


def test_zones_are_searched() -> None:
    assert like_zones("berl") == ["Europe/Berlin"]
    assert "Europe/Busingen" in like_zones("germany")
    options = zone_options(NOW)
    assert '<option value="Asia/Kathmandu">UTC+05:45 · Nepal</option>' in options
    assert "now Asia/Kolkata" in options


def test_time_zone_shows_its_time_and_next_clock_change() -> None:
    assert zone_words("Berlin", NOW) == "Europe/Berlin: 13:00 now, UTC+01:00; from 28 March 2027 UTC+02:00."
    assert zone_words("UTC", NOW) == "UTC: 12:00 now, UTC+00:00, no clock change ahead."
    assert zone_words("Mars/Olympus", NOW) == ""


@pytest.mark.parametrize(
    ("line", "timezone", "notes"),
    [
        ("30 2 * * *", "Europe/Berlin", [
         "On Sun 28 Mar 2027 at 03:00, moved from 02:30, which does not exist that day.",
         "On Sun 31 Oct 2027 at 02:30, clocks go back: first of two passes, runs only once."]),
        ("30 */2 * * *", "Europe/Berlin", [
         "On Sun 28 Mar 2027 at 04:30, clocks go forward: 2027-03-28 02:00 to 02:59 does not exist.",
         "On Sun 31 Oct 2027 at 02:30, clocks go back: first of two passes."]),
        ("15 2 * * *", "Australia/Lord_Howe", [
         "On Sun 03 Oct 2027 at 02:30, moved from 02:15, which does not exist that day."]),
        ("30 2 * * mon", "Europe/Berlin", []),
        ("30 8 * * *", "Europe/Berlin", []),
        ("0 * * * *", "Europe/Berlin", []),
        ("*/5 2 * * *", "Europe/Berlin", []),
        ("30 2 * * *", "Asia/Kathmandu", []),
    ],
)  # fmt: skip
def test_effect_of_next_clock_changes_is_described(line: str, timezone: str, notes: list[str]) -> None:
    assert clock_notes(Recurrence(Crontab.from_line(line), timezone), NOW) == notes


def test_clock_change_after_the_last_run_is_not_described() -> None:
    nightly = Recurrence(Crontab.from_line("30 2 * * *"), "Europe/Berlin")
    spring = ["On Sun 28 Mar 2027 at 03:00, moved from 02:30, which does not exist that day."]
    # The 125th night from now on is that of the change.
    for most, done, notes in ((125, 0, []), (126, 0, spring), (126, 1, []), (3, 3, [])):
        assert clock_notes(dataclasses.replace(nightly, max_runs=most), NOW, done) == notes
    assert clock_notes(dataclasses.replace(nightly, end=NOW + timedelta(days=9)), NOW) == []
    assert clock_notes(dataclasses.replace(nightly, start=datetime(2027, 4, 1, tzinfo=UTC)), NOW)[:1] != spring


SPANS: tuple[dict[str, str], ...] = (
    {},
    {"from": "9", "to": "17"},
    {"from": "22", "to": "4"},
    {"from": "0", "to": "1"},
    {"from": "7", "to": ""},
    {"from": "", "to": "6"},
)
TIMES = (
    *({"time": "at", "at": at} for at in ("00:00", "02:30", "23:59")),
    *({"time": "minutes", "step": step, **span} for step, span in product(STEPS, SPANS)),
    *({"time": "hourly", "past": past, **span} for past, span in product(("0", "59"), SPANS)),
    *({"time": "hours", "hours": hours, "past": "5"} for hours in HOUR_STEPS),
)
DAYS = (
    {"days": "all"},
    {"days": "working"},
    *({"days": "week", "week": week} for week in ("sun", "mon,thu", "mon,tue,wed,thu,fri", "sat,sun")),
    *({"days": "month", "day": day} for day in ("1", "31")),
    *({"days": "nth", "nth": nth, "weekday": "sun"} for nth, _ in NTH),
)
LAST_DAYS = [{"days": "last", "weekday": weekday, "of": month} for weekday, _ in WEEK for month, _ in MONTH_CHOICES[1:]]
MONTHS = [month for month, _ in MONTH_CHOICES]


def test_every_choice_that_is_offered_makes_a_line_that_fires_and_is_read_back_as_it() -> None:
    # Months only matter to days of the month, so not every time meets every month.
    in_months = [*product(TIMES, DAYS, ("*", "oct")), *product(TIMES[:1], DAYS, MONTHS)]
    some = [*({**time, **days, "month": month} for time, days, month in in_months), *LAST_DAYS]
    for chosen in some:
        if (chosen.get("day"), chosen.get("month")) in [("31", short) for short in ("feb", "apr", "jun", "sep", "nov")]:
            continue
        line = build(given := {f"build.{name}": value for name, value in chosen.items()}).line
        assert due_times(Recurrence(Crontab.from_line(line)), NOW, 1), line
        found = read_back(line).choices
        assert found is not None, line
        assert build(found).line == line
        # Ways of choosing that write the same line are read as the one of them that says most of it.
        hourly = (chosen.get("time"), chosen.get("from")) == ("hourly", "0")
        if hourly or "" in (chosen.get("from"), chosen.get("to")) or "22-28 feb" in line:
            continue
        assert given.items() <= found.items(), line


@pytest.mark.parametrize(
    ("line", "beyond"),
    [
        ("7 1,5 * * *", "hours 1,5"),
        ("*/7 * * * *", "minutes */7"),
        ("0 8 1,15 * *", "days 1,15 *"),
        ("0 8 8-14 * mon,tue", "days 8-14 mon,tue"),
        ("0 0 * jan-mar *", "months jan-mar"),
        # A list is not repeated in the hour that autumn repeats, a step is.
        ("0,20,40 2 * * *", "matters when clocks change"),
        ("0 25 * * *", ""),
        ("", ""),
    ],
)
def test_parts_that_the_choices_cannot_express_are_named(line: str, beyond: str) -> None:
    found = read_back(line)
    assert found.choices is None
    assert beyond in found.beyond
    assert bool(beyond) == bool(found.beyond)


def test_lines_by_other_hands_are_read_too() -> None:
    for line, same in (
        ("0 8 * * 1-5", "0 8 * * mon-fri"),
        ("@daily", "0 0 * * *"),
        ("0-59/30 * * * *", "*/30 * * * *"),
    ):
        assert read_back(line).choices == read_back(same).choices, line


def test_of_line_and_choices_the_one_that_was_changed_counts() -> None:
    def meant(line: str, shown_for: str, **choices: str) -> str:
        posted = {**(read_back(shown_for).choices or {}), LINE: shown_for}
        given = {"kind": "crontab", "crontab": line}
        return str(filled_in(given, posted | {f"build.{name}": value for name, value in choices.items()})["crontab"])

    assert meant("0 8 * * 1-5", "0 8 * * 1-5") == "0 8 * * 1-5"
    assert meant("0 8 * * 1-5", "0 8 * * 1-5", at="09:00") == "0 9 * * mon-fri"
    assert meant("7 1,5 * * *", "7 1,5 * * *") == "7 1,5 * * *"
    assert meant("7 1,5 * * *", "0 8 * * *", at="09:00") == "7 1,5 * * *"
    with pytest.raises(Invalid):
        meant("0 8 * * *", "0 8 * * *", days="month", day="30", month="feb")
