"""Schedules of other programs, converted. Pure, except for the registry of tasks; nothing is executed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from webapp.recurrence import Crontab, Recurrence, due_times
from webapp.schedules.sources.crontab_file import from_crontab
from webapp.schedules.sources.dumpdata import from_dumpdata
from webapp.schedules.sources.formats import guess
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.python.beat_schedule import from_module, from_source
from webapp.schedules.sources.python.export import to_source
from webapp.schedules.sources.python.values import RUN_IT
from webapp.schedules.sources.yaml_file import from_yaml
from webapp.schedules.validation import examine
from webapp.web.errors import Invalid

pytestmark = pytest.mark.usefixtures("registered_tasks")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOURCE = """
from celery import Celery
from celery.schedules import crontab, solar
from datetime import timedelta
import os

MINUTE = 60
app = Celery("shop", broker=os.environ["BROKER"])
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "every 30 seconds": {"task": "add", "schedule": 30.0, "args": (16, 16)},
    "every ten minutes": {"task": "add", "schedule": 10 * MINUTE, "options": {"queue": "slow", "expires": 90.5}},
    "half": {"task": "add", "schedule": timedelta(milliseconds=500)},
    "mondays": {
        "task": "add",
        "schedule": celery.schedules.crontab(hour=7, minute=[0, 30], day_of_week="mon"),
        "kwargs": {"num1": -1, "num2": 2},
        "options": {"priority": 3, "routing_key": "x", "retry": False},
    },
    "sun": {"task": "add", "schedule": solar("sunset", -37.81753, 144.96715)},
    "read": {"task": "add", "schedule": float(os.environ["EVERY"])},
    "power": {"task": "add", "schedule": 9 ** 9 ** 9},
    "none": {"task": "add"},
}
"""


def fields(found: list[Given]) -> dict[str, dict[str, Any]]:
    """The fields with a value."""
    return {one.name: {key: value for key, value in one.fields.items() if value not in (None, [], {})} for one in found}


def test_beat_schedule_is_read_and_not_run() -> None:
    found = from_source(SOURCE, "UTC")
    said = fields(found)
    plain = {"task": "add", "kind": "interval"}
    assert said["every 30 seconds"] == {
        **plain,
        "name": "every 30 seconds",
        "every": 30,
        "period": "seconds",
        "args": [16, 16],
    }
    assert said["every ten minutes"] == {
        **plain, "name": "every ten minutes", "every": 10, "period": "minutes", "queue": "slow", "expire_seconds": 90,
    }  # fmt: skip
    assert (said["half"]["every"], said["half"]["period"]) == (500_000, "microseconds")
    assert said["mondays"] == {
        "name": "mondays", "task": "add", "kind": "crontab", "crontab": "0,30 7 * * mon", "timezone": "Europe/Berlin",
        "kwargs": {"num1": -1, "num2": 2}, "priority": 3, "routing_key": "x",
    }  # fmt: skip
    assert (said["sun"]["event"], said["sun"]["latitude"]) == ("sunset", -37.81753)
    by_name = {one.name: one for one in found}
    assert by_name["mondays"].notes == [
        "The option “retry” is not supported and is left out.", "Times are in Europe/Berlin, from line 9.",
    ]  # fmt: skip
    assert by_name["every ten minutes"].notes == ["“expires” of 90.5 seconds is rounded to 90."]
    wrong = {one.name: (one.line, one.error) for one in found if one.error}
    assert wrong == {
        "read": (21, f"“float(os.environ['EVERY'])” cannot be read without running it; {RUN_IT}."),
        "power": (22, "“9 ** 9” is not a sum or product of numbers."),
        "none": (23, "Use a dict with “task” and “schedule”."),
    }


@pytest.mark.parametrize(
    "text",
    [
        "beat_schedule = {",
        "x = 1",
        "beat_schedule = {}",
        "beat_schedule = {'a': " + "-" * 5000 + "1}",
        "beat_schedule = \0",
    ],
    ids=["syntax", "none", "empty", "deep", "nul"],
)
def test_source_without_schedules_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        from_source(text, "UTC")
    assert caught.value.fields.keys() == {"file"}


@pytest.mark.parametrize(
    "value",
    [
        "__import__('os').system('true')", "crontab(minute='61')", "timedelta(days=10**30)", "[1] * 10**9", "**x",
        "{**x}", "solar('noon', 1, 2)", "crontab(*x)", "schedule(run_every=None)", "lambda: 1", "f'{x}'", "{[]: 1}",
        "-timedelta(1)", "0", "True",
    ],
)  # fmt: skip
def test_value_that_only_running_gives_is_refused_at_its_line(value: str) -> None:
    fine = "{'task': 'add', 'schedule': 5}"
    text = f"beat_schedule = {{\n  'fine': {fine},\n  'a': {{'task': 'add', 'schedule': {value}}}}}"
    try:
        found = from_source(text, "UTC")
    except Invalid as error:
        assert "Line 3" in error.fields["file"]  # noqa: PT017  # either way is right, and says where
    else:
        assert [one.error is None for one in found] == [True, False]
        assert found[1].line == 3


def test_a_dict_in_a_module_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = "{'task': 'add', 'schedule': crontab(minute='*/5')}"
    text = f"from celery.schedules import crontab\nclass conf:\n  beat_schedule = {{'cron': {entry}}}"
    (tmp_path / "their_app.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert fields(from_module("their_app:conf.beat_schedule", "UTC"))["cron"]["crontab"] == "*/5 * * * *"
    for path in ("their_app:nothing", "no_such_module:x", "their_app:conf", ":"):
        with pytest.raises(Invalid):
            from_module(path, "UTC")


def test_export_for_celery_can_be_read_back() -> None:
    given: list[dict[str, Any]] = [
        {"name": "a", "task": "add", "kind": "crontab", "crontab": "*/5 9-17 * * mon-fri", "timezone": "Europe/Berlin"},
        {
            "name": "b",
            "task": "add",
            "kind": "interval",
            "every": 36,
            "period": "hours",
            "queue": "slow",
            "priority": 2,
        },
        {"name": "c", "task": "add", "kind": "solar", "event": "sunset", "latitude": 27.7, "longitude": 85.3},
        {
            "name": "d'",
            "task": "add",
            "kind": "interval",
            "every": 1,
            "period": "days",
            "kwargs": {"num1": 1, "num2": 2},
        },
    ]
    completed = [{"args": [] if one.get("kwargs") else [1, 2], **one} for one in given]
    snapshots = [made.definition.snapshot() for one in completed if (made := examine(one, NOW)).definition]
    assert len(snapshots) == 4
    again = [examine(one.fields, NOW).definition for one in from_source(to_source(snapshots), "UTC")]
    assert [one.snapshot() for one in again if one] == snapshots


def dump(**changes: Any) -> str:
    task = {
        "name": "Import contacts", "task": "add", "interval": None, "crontab": 4, "solar": None, "clocked": None,
        "args": "[1, 2]", "kwargs": "{}", "queue": None, "exchange": None, "routing_key": None, "headers": "{}",
        "priority": None, "expires": None, "expire_seconds": None, "one_off": False, "start_time": None,
        "enabled": True, "last_run_at": "2024-05-01T04:00:00.000Z", "total_run_count": 12,
        "date_changed": "2024-05-01T04:03:00.102Z",
        "description": "",
    } | changes  # fmt: skip
    cleanup = {**task, "name": "celery.backend_cleanup", "task": "celery.backend_cleanup"}
    objects: list[dict[str, Any]] = [
        {"model": "auth.user", "pk": 1, "fields": {"username": "x"}},
        {"model": "django_celery_beat.periodictasks", "pk": 1, "fields": {"last_update": "2024-05-01T04:03:00Z"}},
        {"model": "django_celery_beat.intervalschedule", "pk": 3, "fields": {"every": 10, "period": "minutes"}},
        {
            "model": "django_celery_beat.crontabschedule", "pk": 4,
            "fields": {"minute": "0", "hour": "4", "day_of_month": "*", "month_of_year": "*", "day_of_week": "1, 3",
                       "timezone": "Europe/Berlin"},
        },
        {"model": "django_celery_beat.solarschedule", "pk": 1,
         "fields": {"event": "sunset", "latitude": "27.717200", "longitude": "85.324000"}},
        {"model": "django_celery_beat.clockedschedule", "pk": 9, "fields": {"clocked_time": "2099-01-01T00:00:00Z"}},
        {"model": "django_celery_beat.clockedschedule", "pk": 8, "fields": {"clocked_time": "2020-01-01T00:00:00Z"}},
        {"model": "django_celery_beat.periodictask", "pk": 2, "fields": cleanup},
        {"model": "django_celery_beat.periodictask", "pk": 5, "fields": task},
    ]  # fmt: skip
    return json.dumps(objects, indent=2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, {"kind": "crontab", "crontab": "0 4 * * 1,3", "timezone": "Europe/Berlin", "enabled": True}),
        ({"crontab": None, "interval": 3}, {"kind": "interval", "every": 10, "period": "minutes"}),
        ({"crontab": None, "solar": 1}, {"event": "sunset", "latitude": 27.7172, "longitude": 85.324}),
        ({"crontab": None, "clocked": 9, "one_off": True}, {"kind": "clocked", "at": "2099-01-01T00:00:00Z"}),
        ({"one_off": True, "enabled": False, "queue": "slow"}, {"max_runs": 1, "enabled": False, "queue": "slow"}),
        ({"one_off": True, "total_run_count": 1}, {"max_runs": 1, "enabled": False}),
        ({"one_off": True, "total_run_count": 0}, {"max_runs": 1, "enabled": True}),
        ({"task": "people.send_birthday_emails", "args": "null", "kwargs": "null"}, {"args": [], "kwargs": {}}),
        ({"expires": "2098-01-01T00:00:00Z", "description": "x"}, {"end": "2098-01-01T00:00:00Z", "description": "x"}),
    ],
    ids=["crontab", "interval", "solar", "clocked", "one off", "has run", "to run", "null", "expires"],
)  # fmt: skip
def test_a_dump_of_django_celery_beat(changes: dict[str, Any], said: dict[str, Any]) -> None:
    cleanup, found = from_dumpdata(dump(**changes), NOW, "UTC")
    assert cleanup.skipped is not None
    definition = examine(found.fields, NOW).definition
    assert definition is not None
    assert definition.snapshot() == definition.snapshot() | said


def test_dump_keeps_the_phase_of_an_interval() -> None:
    interval = {"crontab": None, "interval": 3, "last_run_at": "2024-05-01T04:00:07.123Z"}
    assert from_dumpdata(dump(**interval), NOW, "UTC")[1].anchor == datetime(2024, 5, 1, 4, 0, 7, tzinfo=UTC)
    others = ({"start_time": "2024-01-01T00:00:00Z"}, {"last_run_at": "2099-01-01T00:00:00Z"}, {"last_run_at": None})
    for other in others:
        assert from_dumpdata(dump(**interval | other), NOW, "UTC")[1].anchor is None
    assert from_dumpdata(dump(), NOW, "UTC")[1].anchor is None


def test_a_dump_whose_entries_are_broken() -> None:
    text = dump(crontab=99)
    found = from_dumpdata(text, NOW, "UTC")[1]
    assert found.error == "Its crontab 99 is not in the file: dump the whole application."
    assert text.splitlines()[(found.line or 0)].strip() == '"model": "django_celery_beat.periodictask",'
    assert from_dumpdata(dump(crontab=None), NOW, "UTC")[1].error == "It refers to no schedule or to several."
    assert from_dumpdata(dump(crontab=None, clocked=8), NOW, "UTC")[1].skipped == "Its time is in the past."
    assert "“headers”" in from_dumpdata(dump(headers='{"a": 1}'), NOW, "UTC")[1].notes[0]
    named = from_dumpdata(dump(exchange="x", routing_key=""), NOW, "UTC")[1]
    assert (named.fields["exchange"], named.fields["routing_key"], named.notes) == ("x", None, [])
    for junk in ("[", "[1]", "[{}]", '[{"model": "auth.user", "fields": {}}]', text[:-9], "[" * 9999):
        with pytest.raises(Invalid):
            from_dumpdata(junk, NOW, "UTC")


CRONTAB = r"""MAILTO=ops@example.org
# Sums of the night
30 2 * * *  add [1, 2]
CRON_TZ=Europe/Berlin
*/20 9-17 * * mon-fri  add {"num1": 1, "num2": 2}
@daily /opt/venv/bin/celery -A shop.app call add --args='[3, 4]' --queue=slow
0 5 1,15 * fri  add 5 6
0 6 * * *  /usr/local/bin/backup --all > /dev/null 2>&1
0 7 * * *  date +\%Y%and this is its input
@reboot  add 1 2
"""


def test_a_crontab() -> None:
    found = from_crontab(CRONTAB, "Asia/Kathmandu", {})
    said = fields(found)
    first = said["add [1, 2]"]
    assert (first["args"], first["crontab"], first["timezone"]) == ([1, 2], "30 2 * * *", "Asia/Kathmandu")
    assert first["description"] == "Sums of the night"
    assert found[1].fields["kwargs"] == {"num1": 1, "num2": 2}
    assert found[1].fields["timezone"] == "Europe/Berlin"
    called = examine(found[2].fields, NOW).definition
    assert called is not None
    assert (called.args, called.queue, called.snapshot()["crontab"]) == ([3, 4], "slow", "0 0 * * *")
    wrong = {one.line: one.error for one in found if one.error}
    assert wrong.keys() == {8, 9, 10}
    assert str(wrong[8]).endswith("is not a known task. Choose which task it is.")
    assert str(wrong[10]).startswith("“@reboot” is not a time")
    assert next(one for one in found if one.line == 9).notes[0].startswith("What follows “%”")


def test_days_that_cron_joins_by_or_become_two_schedules_without_a_day_in_common() -> None:
    two = [one for one in from_crontab(CRONTAB, "UTC", {}) if one.line == 7]
    assert [one.fields["crontab"] for one in two] == ["0 5 1,15 * *", "0 5 2-14,16-31 * fri"]
    assert "also on the weekdays fri" in two[0].notes[0]
    fires = [
        due.utc
        for one in two
        for due in due_times(Recurrence(Crontab.from_line(one.fields["crontab"])), NOW, 40)
        if due.utc < NOW + timedelta(days=120)
    ]
    days = [NOW + timedelta(days=day, hours=5) for day in range(120)]
    assert sorted(fires) == [day for day in days if day.day in (1, 15) or day.weekday() == 4]
    # A field that begins with a star does not restrict, for cron: both must match, as here.
    assert len(from_crontab("0 5 */2 * fri add 1 2", "UTC", {})) == 1


def test_commands_are_given_to_the_tasks_that_people_choose() -> None:
    lines = "0 6 * * * /bin/backup\n0 7 * * * /bin/report\n0 8 * * * /bin/report\n"
    found = from_crontab(lines, "UTC", {"/bin/backup": "people.send_birthday_emails", "": "add"})
    assert [(one.name, one.fields["task"]) for one in found] == [
        ("/bin/backup", "people.send_birthday_emails"), ("/bin/report", "add"), ("/bin/report (2)", "add"),
    ]  # fmt: skip
    assert not any(one.error for one in found)
    for junk in ("nonsense", "* * * *", "# nothing"):
        with pytest.raises(Invalid):
            from_crontab(junk, "UTC", {})


@pytest.mark.parametrize(
    ("text", "format_"),
    [
        (SOURCE, "beat_schedule"),
        ("{'a': {'task': 'add', 'schedule': 3}}", "beat_schedule"),
        (dump(), "dumpdata"),
        (CRONTAB, "crontab"),
        ("schedules:\n- name: x\n  crontab: 0 5 * * *\n", "yaml"),
        ('{"schedules": []}', "yaml"),
        ("", "yaml"),
    ],
    ids=["module", "dict", "dump", "crontab", "yaml", "json", "nothing"],
)
def test_the_format_is_guessed(text: str, format_: str) -> None:
    assert guess(text) == format_


def test_our_own_files_know_their_lines() -> None:
    text = "# ours\nschedules:\n- name: a\n  task: add\n\n- task: add\n  name: b\n"
    assert [(one.name, one.line) for one in from_yaml(text)] == [("a", 3), ("b", 6)]
