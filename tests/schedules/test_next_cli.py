"""`flask schedules next`: its output for people and for programs, and its errors."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from click.testing import CliRunner, Result

from webapp.recurrence import Crontab, Recurrence
from webapp.schedules.cli.next import make_next_command

NOW = datetime.fromisoformat("2027-01-01T00:00:00Z")
STORED = {"birthdays": (Recurrence(Crontab.from_line("0 8 * * *"), "Asia/Kathmandu", max_runs=5), 3)}
ONE_OF = "use the name of a schedule, or one of --crontab, --interval, --solar and --at"
BERLIN = ("--crontab", "*/30 * * * *", "--timezone", "Europe/Berlin", "--after", "2027-10-30T22:00:00Z")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(make_next_command(STORED.get, now=lambda: NOW), arguments)


def utc(*arguments: str) -> list[str]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return [due["utc"] for due in json.loads(result.stdout)]


def test_json_is_a_list_of_utc_local_and_note() -> None:
    result = run(*BERLIN, "--count", "8", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [list(due) for due in found] == [["utc", "local", "note"]] * 8
    assert found[3] == {
        "utc": "2027-10-31T00:00:00Z",
        "local": "2027-10-31T02:00:00+02:00",
        "note": "clocks go back: first of two passes",
    }
    assert found[5] == {
        "utc": "2027-10-31T01:00:00Z",
        "local": "2027-10-31T02:00:00+01:00",
        "note": "clocks go back: second of two passes",
    }
    assert found[7]["local"] == "2027-10-31T03:00:00+01:00"


def test_table_is_aligned_under_the_words_of_the_rule() -> None:
    result = run(*BERLIN, "--count", "4")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "every 30 minutes, Europe/Berlin time",
        "",
        "UTC                   LOCAL                      NOTE",
        "2027-10-30T22:30:00Z  2027-10-31T00:30:00+02:00",
        "2027-10-30T23:00:00Z  2027-10-31T01:00:00+02:00",
        "2027-10-30T23:30:00Z  2027-10-31T01:30:00+02:00",
        "2027-10-31T00:00:00Z  2027-10-31T02:00:00+02:00  clocks go back: first of two passes",
    ]


def test_interval_lies_on_the_grid_of_its_start() -> None:
    assert utc("--interval", "10s", "--start", "2027-01-01T00:00:03Z", "--count", "2") == [
        "2027-01-01T00:00:03Z",
        "2027-01-01T00:00:13Z",
    ]


@pytest.mark.parametrize(
    ("length", "expected"),
    [("90s", "00:01:30"), ("5m", "00:05:00"), ("2h", "02:00:00"), ("1d", "00:00:00")],
)
def test_interval_takes_seconds_minutes_hours_and_days(length: str, expected: str) -> None:
    (due,) = utc("--interval", length, "--count", "1")
    assert due.endswith(f"T{expected}Z")


def test_solar_takes_a_place_also_south_and_west() -> None:
    (due,) = utc("--solar", "sunrise", "--latitude", "-33.45", "--longitude", "-70.66", "--count", "1")
    assert due.startswith("2027-01-01T09:")


def test_one_time_has_one_due_time() -> None:
    assert utc("--at", "2027-05-01T10:00:00+02:00") == ["2027-05-01T08:00:00Z"]


def test_a_time_without_an_offset_is_meant_in_the_zone() -> None:
    assert utc("--at", "2027-05-01T10:00", "--timezone", "Asia/Kathmandu") == ["2027-05-01T04:15:00Z"]


def test_end_is_included_and_nothing_comes_after_it() -> None:
    assert utc("--crontab", "*/10 * * * *", "--end", "2027-01-01T00:20:00Z") == [
        "2027-01-01T00:10:00Z",
        "2027-01-01T00:20:00Z",
    ]


def test_it_takes_what_the_editor_takes() -> None:
    zone = ("--timezone", "asia/KATHMANDU", "--count", "1")
    for line in ("@daily", "@Midnight", "0\t0 * * *", " 0 0 * * * "):
        assert utc("--crontab", line, *zone) == ["2027-01-01T18:15:00Z"]
    # Of the hour that autumn repeats the first.
    assert utc("--at", "2027-10-31T02:30", "--timezone", "europe/berlin") == ["2027-10-31T00:30:00Z"]
    place = ("--latitude", "60", "--longitude", "10", "--count", "1")
    assert utc("--solar", "Dawn astronomical", *place) == utc("--solar", "dawn_astronomical", *place)


def test_a_stored_schedule_is_found_by_name_and_its_runs_are_counted() -> None:
    assert utc("birthdays") == ["2027-01-01T02:15:00Z", "2027-01-02T02:15:00Z"]


def test_no_further_due_times_is_reported_without_an_error() -> None:
    result = run("--at", "2026-05-01T10:00:00Z")
    assert result.exit_code == 0
    assert result.stdout == "once, on 1 May 2026 at 10:00, UTC\nno upcoming runs\n"
    assert utc("--at", "2026-05-01T10:00:00Z") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", ONE_OF),
        ("--interval 5m --at 2027-01-01", ONE_OF),
        ("unheard", "there is no schedule 'unheard'"),
        ("birthdays --interval 5m", "use either the name of a schedule or --interval, not both"),
        ("birthdays --timezone UTC", "use either the name of a schedule or --timezone, not both"),
        ("--interval 5x", "--interval: '5x' is not a duration; use a number and s, m, h or d, such as 10s"),
        ("--interval 0s", "--interval: It must be at least 1."),
        ("--crontab '* 24 * * *'", "--crontab: Hour: 24 is not an hour (0 to 23)."),
        (
            "--crontab '0 0 31 2 *'",
            "--crontab: This never fires: there is no day 31 in month 2.",
        ),
        ("--interval 5m --timezone Mars/Base", "--timezone: Choose a time zone from the list, such as "),
        ("--interval 5m --after yesterday", "--after: Enter a date and time such as 2027-10-30 22:00."),
        (
            "--at 2027-03-28T02:30 --timezone Europe/Berlin",
            "--at: 02:30 does not exist on 2027-03-28 in Europe/Berlin because clocks go forward.",
        ),
        ("--solar sunrise --latitude 5", "--solar needs --latitude and --longitude"),
        ("--solar moonrise --latitude 5 --longitude 5", "--solar: Choose one of: dawn_astronomical, "),
        ("--solar sunrise --latitude 95 --longitude 5", "--latitude: It must be from -90 to 90 degrees."),
        ("--interval 5m --latitude 5", "--latitude and --longitude belong to --solar"),
        ("--interval 5m --start 2027-01-02 --end 2027-01-01", "--end: The end must be after the start."),
        ("--interval 5m --count 0", "Invalid value for '--count': 0 is not in the range 1<=x<=10000."),
        ("--interval 5m --frequency 3", "No such option"),
    ],
)  # fmt: skip
def test_it_refuses_with_exit_code_2_and_one_clear_line(arguments: str, message: str) -> None:
    result = CliRunner().invoke(make_next_command(STORED.get, now=lambda: NOW), arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1
