"""The Python export, loaded by a separate Celery; what Celery has no equivalent for is a comment."""

from __future__ import annotations

import ast
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from celery.beat import Scheduler

from webapp.recurrence import due_times
from webapp.schedule_store.definition import DEFAULTS, Definition
from webapp.schedules.sources.python.export import to_source
from webapp.schedules.validation import examine

pytestmark = pytest.mark.usefixtures("registered_tasks")

NOW = datetime(2027, 6, 1, 12, tzinfo=UTC)
DAY = {"task": "add", "kind": "interval", "every": 1, "period": "days", "args": [1, 2]}
AT_EIGHT = {"task": "add", "kind": "crontab", "crontab": "0 8 * * *", "args": [1, 2]}


def define(name: str, **given: Any) -> Definition:
    examined = examine({"name": name, **given}, NOW)
    assert examined.definition is not None, examined.errors
    return examined.definition


def source(*definitions: Definition, **more: Any) -> str:
    return to_source([{**one.snapshot(), **more} for one in definitions])


def loaded(text: str) -> Scheduler:
    """Celery's own scheduler with the module as its configuration."""
    module = ModuleType("exported")
    exec(compile(text, "exported.py", "exec"), module.__dict__)  # what we wrote
    app = Celery("theirs", set_as_current=False, broker="memory://")
    app.config_from_object(module)
    app.conf.update(result_expires=None)
    return Scheduler(app)


def uncommented(text: str) -> str:
    """With the lines of the dict that are code in comments as code."""
    return "".join(line.replace("    # ", "    ", 1) for line in text.splitlines(keepends=True))


def next_by_celery(rule: Any, after: datetime) -> datetime:
    rule.nowfun = lambda: after
    left: timedelta = rule.remaining_estimate(after)
    return after + left


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "crontab", "crontab": "*/20 9-17 * * mon-fri", "timezone": "Europe/Berlin"},
        {"kind": "crontab", "crontab": "30 2 1,15 */2 *", "timezone": "Asia/Kathmandu"},
        {"kind": "crontab", "crontab": "0 22-4/2 * jan,jun-aug fri-sun", "timezone": "America/New_York"},
        {"kind": "interval", "every": 36, "period": "hours"},
        {"kind": "interval", "every": 1_500_000, "period": "microseconds"},
        {"kind": "solar", "event": "sunset", "latitude": 27.7, "longitude": -85.25},
    ],
    ids=["minutes", "days", "backwards", "hours", "microseconds", "sunset"],
)
def test_a_celery_app_that_loads_it_comes_to_the_same_due_times(given: dict[str, Any]) -> None:
    options = {"queue": "slow", "priority": 3, "expire_seconds": 90}
    definition = define("it's “ä”", task="add", args=[1], kwargs={"num2": 2}, **options, **given)
    entry = loaded(source(definition)).schedule["it's “ä”"]
    assert (entry.task, entry.args, entry.kwargs) == ("add", [1], {"num2": 2})
    assert entry.options == {"queue": "slow", "priority": 3, "expires": 90}
    due = [one.utc for one in due_times(definition.recurrence(), NOW, 30)]
    # Celery may take an event of the sun that was right now for the next one.
    passed = timedelta(minutes=given["kind"] == "solar")
    for last, following in pairwise(due):
        assert abs(next_by_celery(entry.schedule, last + passed) - following) < timedelta(seconds=1)


def test_module_has_the_time_zone_of_most_crontabs_and_marks_the_others() -> None:
    berlin = [define(name, timezone="Europe/Berlin", **AT_EIGHT) for name in "ab"]
    others = [define(name, timezone="UTC", enabled=name == "c", **AT_EIGHT) for name in "cdef"]
    text = source(*berlin, *others)
    assert str(loaded(text).app.timezone) == "Europe/Berlin"
    said = "# Celery has no equivalent: timezone = 'UTC'; Celery takes its times as those of Europe/Berlin\n"
    assert text.count(said) == 4
    assert "no equivalent" not in source(*berlin)
    assert "timezone = 'UTC'\n" in source(define("x", **DAY))


OTHER = {
    "exchange": "events", "routing_key": "sums",
    "timezone": "Asia/Kathmandu", "args": [3, 4], "kwargs": {"num1": 1, "num2": 2}, "queue": "slow", "priority": 3,
    "expire_seconds": 77, "start": "2027-07-01T00:00:00Z", "end": "2028-07-01T00:00:00Z", "max_runs": 9, "jitter": 1.5,
    "misfire": "run all", "misfire_window": 55, "overlap": "queue one", "failure_budget": 8,
    "description": "two\nlines", "tags": ["x"], "enabled": False,
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_values_other_than_defaults_are_in_the_entry_or_a_comment(name: str) -> None:
    plain = define("x", **DAY).snapshot()
    without, text = to_source([plain]), to_source([{**plain, name: OTHER[name]}])
    lines = sorted(set(text.splitlines()) - set(without.splitlines()))
    if name == "enabled":
        assert "    # Disabled." in lines
    else:
        assert len(lines) == 1
        assert repr(OTHER[name]) in lines[0]
    assert "no equivalent" not in without


def test_destinations_and_pauses_are_exported_too() -> None:
    headers = {"site": "a", "password": "hush"}
    text = source(define("x", **DAY), exchange="media", routing_key="video", headers=headers, paused=True)
    options = loaded(text).schedule["x"].options
    assert options == {"exchange": "media", "routing_key": "video", "headers": {"site": "a", "password": "•••"}}
    assert "# It is paused; Celery runs it.\n" in text
    assert "# Secret, and not written here: options.headers. Put the values in the places of •••.\n" in text


def test_disabled_ones_stand_as_comments_that_are_code_without_their_sign() -> None:
    text = source(define("off", enabled=False, jitter=2, **AT_EIGHT), define("on", **DAY))
    assert loaded(text).schedule.keys() == {"on"}
    assert "    # Disabled.\n    # 'off': {\n    #     # Celery has no equivalent: jitter = 2.0\n" in text
    code = uncommented(text).replace("    Disabled.\n", "")
    assert loaded(code).schedule.keys() == {"off", "on"}


def test_one_time_schedules_stand_as_comments_with_their_time() -> None:
    text = source(define("once", task="add", kind="clocked", at="2099-01-01T00:00:00Z", args=[1, 2]))
    assert loaded(text).schedule == {}
    assert "    # Celery has no schedule that runs once.\n    # 'once': {\n" in text
    assert "    #     # Celery has no equivalent: at = '2099-01-01T00:00:00Z'\n" in text
    assert "    #     'args': [1, 2],\n" in text


def nested(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"problem": "The row that says when\nis missing.", "kind": None},
            "It cannot fire: The row that says when\\nis",
        ),
        ({"problem": "99 is not a minute.", "crontab": "99 * * * *"}, "no equivalent: crontab = '99 * * * *'"),
        ({"problem": "Its args are not a JSON list.", "args": "no\nJSON"}, "'args': 'no\\nJSON',"),
        ({"args": nested(250)}, "'x' is left out: its arguments are nested too deep."),
        ({"kwargs": {"a": nested(2_000)}}, "'x' is left out: its arguments are nested too deep."),
    ],
    ids=["no rule", "no minute", "no list", "deep", "very deep"],
)
def test_a_broken_one_is_a_comment_and_stops_no_other(changes: dict[str, Any], reason: str) -> None:
    snapshot = {**define("x", **AT_EIGHT).snapshot(), **changes}
    text = to_source([snapshot, define("y", **DAY).snapshot()])
    assert loaded(text).schedule.keys() == {"y"}
    assert reason in text


@pytest.mark.parametrize(
    "odd",
    ["a\nb", "a\r\nb", "\u2028\x85\x0b\x0c", "\x00\x1b", "\ud800 caf\udce9", "'\"\\", "}},\n# x", "😀 नमस्ते", "{0} %s"],
    ids=ascii,
)
def test_odd_text_stays_what_it_is(odd: str) -> None:
    snapshot = define("x", **DAY).snapshot()
    for enabled in (True, False):
        text = to_source(
            [
                {**snapshot, "name": odd, "args": [odd, 1], "description": odd, "tags": [odd], "enabled": enabled},
                {**snapshot, "name": "y", "problem": odd},
            ]
        )
        found = loaded(text).schedule
        assert [(name, entry.args) for name, entry in found.items()] == ([(odd, [odd, 1])] if enabled else [])
        assert len(ast.parse(text).body) == 3


def test_numbers_that_json_lacks_are_numbers() -> None:
    snapshot = {**define("x", **DAY).snapshot(), "args": [float("nan"), {"most": float("-inf")}]}
    text = to_source([snapshot])
    nan, most = loaded(text).schedule["x"].args
    assert math.isnan(nan)
    assert most == {"most": float("-inf")}
    assert "import inf" not in source(define("x", **DAY))
