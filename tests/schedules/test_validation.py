from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.recurrence.words import duration_text
from webapp.schedule_store.definition import FIELDS
from webapp.schedules.editor.forms import DURATIONS, form_values
from webapp.schedules.validation import check_schedule, examine
from webapp.web.errors import Invalid

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEGAL: dict[str, Any] = {"name": "Sums", "task": "add", "kind": "crontab", "crontab": "30 8 * * *", "args": "[1, 2]"}

pytestmark = pytest.mark.usefixtures("context")


def errors(**changes: Any) -> dict[str, str]:
    try:
        check_schedule({**LEGAL, **changes}, NOW)
    except Invalid as error:
        return error.fields
    return {}


def test_the_legal_one_is_legal() -> None:
    assert errors() == {}


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "   "}),
        ("name", {"name": "x" * 256}),
        ("name", {"name": "a\x00b"}),
        ("name", {"name": "\ud800"}),
        ("name", {"name": 7}),
        ("task", {"task": ""}),
        ("task", {"task": "os.system"}),
        ("task", {"task": "celery.map"}),
        ("args", {"args": "not json"}),
        ("args", {"args": '{"a": 1}'}),
        ("args", {"args": "[1]"}),
        ("args", {"args": "[1, 2, 3]"}),
        ("args", {"args": "[NaN, 1]"}),
        ("args", {"args": ["\ud800", 1]}),
        ("args", {"args": "[" * 100_000}),
        ("kwargs", {"kwargs": "[1]"}),
        ("kwargs", {"args": "[]", "kwargs": '{"num1": 1, "other": 2}'}),
        ("kind", {"kind": ""}),
        ("kind", {"kind": "moonrise"}),
        ("crontab", {"crontab": ""}),
        ("crontab", {"crontab": "* * * *"}),
        ("crontab", {"crontab": "* * * * * *"}),
        ("crontab", {"crontab": "61 * * * *"}),
        ("crontab", {"crontab": "0 0 31 2 *"}),
        ("crontab", {"crontab": ",".join(["1"] * 150) + " * * * *"}),
        ("every", {"kind": "interval", "every": "0", "period": "days"}),
        ("every", {"kind": "interval", "every": "-1", "period": "days"}),
        ("every", {"kind": "interval", "every": "1.5", "period": "days"}),
        ("every", {"kind": "interval", "every": "", "period": "days"}),
        ("every", {"kind": "interval", "every": "999999999", "period": "days"}),
        ("period", {"kind": "interval", "every": "1", "period": "fortnights"}),
        ("event", {"kind": "solar", "event": "moonrise", "latitude": "1", "longitude": "1"}),
        ("event", {"kind": "solar", "event": "dusk_astronomical", "latitude": "90", "longitude": "1"}),
        ("latitude", {"kind": "solar", "event": "sunset", "latitude": "91", "longitude": "1"}),
        ("longitude", {"kind": "solar", "event": "sunset", "latitude": "1", "longitude": "nan"}),
        ("at", {"kind": "clocked", "at": "2020-01-01T00:00"}),
        ("at", {"kind": "clocked", "at": "soon"}),
        ("at", {"kind": "clocked", "at": "2027-03-28T02:30", "timezone": "Europe/Berlin"}),
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("timezone", {"timezone": ""}),
        ("priority", {"priority": "99"}),
        ("priority", {"priority": "-1"}),
        ("expire_seconds", {"expire_seconds": "0"}),
        ("end", {"start": "2027-01-02T00:00", "end": "2027-01-01T00:00"}),
        ("end", {"start": "2027-01-01T00:00", "end": "2027-01-01T01:00"}),
        ("max_runs", {"max_runs": "0"}),
        ("jitter", {"jitter": "-1"}),
        ("jitter", {"jitter": "1e400"}),
        ("misfire", {"misfire": "guess"}),
        ("misfire_window", {"misfire_window": "-5"}),
        ("overlap", {"overlap": "explode"}),
        ("queue", {"queue": "two words"}),
        ("tags", {"tags": ",".join(str(number) for number in range(21))}),
        ("description", {"description": "x" * 4001}),
        ("enabled", {"enabled": "perhaps"}),
        ("headers", {"headers": "{}"}),
    ],
)
def test_it_refuses(field: str, changes: dict[str, Any]) -> None:
    assert errors(**changes).keys() == {field}
    assert errors(**changes)[field].endswith(".")


def test_all_errors_are_reported_together() -> None:
    found = errors(name="", crontab="x", priority="many", timezone="Nowhere")
    assert found.keys() == {"name", "crontab", "priority", "timezone"}


def test_a_crontab_field_is_named() -> None:
    assert errors(crontab="0 25 * * *")["crontab"].startswith("Hour: 25 is not an hour")


@pytest.mark.parametrize("kind", ["clocked", "one-time", "one_time", "One time", "once"])
def test_one_time_has_synonyms(kind: str) -> None:
    made = check_schedule({**LEGAL, "kind": kind, "at": "2027-01-01T00:00Z"}, NOW)
    assert made.snapshot()["kind"] == "clocked"
    assert made.snapshot()["at"] == "2027-01-01T00:00:00Z"


def test_a_repeated_local_time_is_the_first_one() -> None:
    made = check_schedule({**LEGAL, "kind": "clocked", "at": "2027-10-31T02:30", "timezone": "Europe/Berlin"}, NOW)
    assert made.snapshot()["at"] == "2027-10-31T00:30:00Z"


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 29 2 mon", "@daily"])
def test_rare_crontabs_are_legal(line: str) -> None:
    assert errors(crontab=line) == {}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "interval", "every": 3, "period": "minute", "jitter": 2.5, "start": "2027-01-01T00:00+05:45"},
        {"kind": "solar", "event": "Solar Noon", "latitude": -33.9, "longitude": 151.2},
        {"kind": "clocked", "at": "2099-10-31T02:30", "timezone": "europe/berlin", "tags": "a, b,a", "priority": 0},
    ],
)
def test_a_snapshot_is_checked_into_the_same_definition(changes: dict[str, Any]) -> None:
    made = check_schedule({**LEGAL, **changes}, NOW)
    assert check_schedule(made.snapshot(), NOW) == made


def test_what_is_not_given_stays_as_it_is() -> None:
    current = check_schedule({**LEGAL, "queue": "slow", "tags": ["a"]}, NOW).snapshot()
    assert check_schedule({"name": "New"}, NOW, current=current).snapshot() == {**current, "name": "New"}


JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text(), max_size=3))


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=8))
def test_junk_is_refused_or_made_sense_of_but_never_breaks(junk: dict[str, Any]) -> None:
    examined = examine({**LEGAL, **junk}, NOW)
    assert all(examined.errors.values())
    if examined.definition is None:
        assert examined.errors
    else:
        snapshot = examined.definition.snapshot()
        assert check_schedule(snapshot, NOW, current=snapshot) == examined.definition


def test_tabs_in_a_crontab_are_blanks() -> None:
    made = examine({**LEGAL, "crontab": "30\t8 *\t* 1"}, NOW).definition
    assert made is not None
    assert made.snapshot()["crontab"] == "30 8 * * 1"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1 D", 86_400)])
def test_durations_are_typed_with_a_unit_and_shown_with_one(text: str, seconds: int) -> None:
    typed = LEGAL | dict.fromkeys(DURATIONS, text)
    snapshot = check_schedule(typed, NOW).snapshot()
    assert [snapshot[name] for name in DURATIONS] == [seconds] * 3
    assert {form_values(snapshot)[name] for name in DURATIONS} == {duration_text(seconds)}
    assert check_schedule({**typed, **form_values(snapshot)}, NOW).snapshot() == snapshot


@pytest.mark.parametrize("text", ["5 x", "h", "soon", "5m2", ".s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    assert errors(**dict.fromkeys(DURATIONS, text)) == dict.fromkeys(
        DURATIONS, "Enter a duration such as 90s, 5m or 2h."
    )
