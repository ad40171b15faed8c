"""The formats of times, durations, counts and JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from webapp.web import formats

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (0, "now"),
        (0.9, "now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (3600, "1 h ago"),
        (47.5 * 3600, "47 h ago"),
        (48 * 3600, "2 days ago"),
        (90 * 86400, "3 months ago"),
        (800 * 86400, "2 years ago"),
        (-90, "in 1 min"),
        (-5, "in 5 s"),
    ],
)
def test_ago_uses_the_largest_unit(before: float, text: str) -> None:
    assert formats.ago(NOON - timedelta(seconds=before), NOON) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.3204, "320 ms"),
        (0.9996, "1.0 s"),
        (4.21, "4.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3 * 86400 + 4 * 3600 + 59, "3 d 4 h"),
        (-2, "-2.0 s"),
    ],
)
def test_duration_has_at_most_two_units(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


def test_nothing_is_a_dash_everywhere() -> None:
    assert formats.ago(None, NOON) == formats.exact(None, ZoneInfo("UTC")) == formats.duration(None) == "\N{EN DASH}"


def test_exact_distinguishes_the_repeated_hour_of_berlin() -> None:
    zone = ZoneInfo("Europe/Berlin")
    first, second = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    assert formats.exact(first, zone) == "2026-10-25 02:30:00 Europe/Berlin (UTC+02:00)"
    assert formats.exact(second, zone) == "2026-10-25 02:30:00 Europe/Berlin (UTC+01:00)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "13:00:00"),
        (0.25, "13:00:00, 250 ms later"),
        (75, "13:01:15, 1 min 15 s later"),
        # A clock of another machine.
        (-0.02, "12:59:59"),
        (12 * 3600, "2026-11-23 01:00:00 Europe/Berlin (UTC+01:00), 12 h later"),
    ],
)
def test_later_time_is_shown_with_its_delay(seconds: float, text: str) -> None:
    assert formats.exact_after(NOON + timedelta(seconds=seconds), NOON, ZoneInfo("Europe/Berlin")) == text


def test_time_after_the_clock_was_set_back_is_shown_in_full() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    text_of_later = formats.exact_after(first + timedelta(hours=1), first, ZoneInfo("Europe/Berlin"))
    assert text_of_later == "2026-10-25 02:30:00 Europe/Berlin (UTC+01:00), 1 h later"


def test_pretty_json_leaves_what_is_no_json_alone() -> None:
    assert formats.pretty_json('{"a": [1, "é"]}') == '{\n  "a": [\n    1,\n    "é"\n  ]\n}'
    assert formats.pretty_json("{'a': 1}") == "{'a': 1}"
    assert formats.pretty_json("[" * 100_000) == "[" * 100_000
    assert formats.pretty_json(None) == ""


def test_plural_groups_thousands() -> None:
    assert formats.plural(1, "run") == "1 run"
    assert formats.plural(1204, "run") == "1,204 runs"
    assert formats.plural(0, "person", "people") == "0 people"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0:00"), (0.2, "0:01"), (299, "4:59"), (3600, "1:00:00"), (86_400 * 2 + 3899, "2 d 1:04:59")],
)
def test_a_countdown_is_to_the_second(seconds: float, text: str) -> None:
    assert formats.countdown(NOON + timedelta(seconds=seconds), NOON) == text
