"""The times of a `beat_schedule` are in Celery's time zone, and the import shows the zone and the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import _state
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor
from webapp.schedules.sources.python.beat_schedule import from_module, from_source

NIGHTLY = "{'nightly': {'task': 'add', 'schedule': crontab(hour=2, minute=0), 'args': (1, 2)}}"
NO_ZONE = f"app = Celery('shop', broker='redis://')\napp.conf.beat_schedule = {NIGHTLY}\n"
KOLKATA = f"app.conf.update(task_serializer='json', timezone='Asia/Kolkata')\napp.conf.beat_schedule = {NIGHTLY}\n"
ROME = f"TIME_ZONE = 'Europe/Rome'\nUSE_TZ = True\nCELERY_TIMEZONE = TIME_ZONE\nCELERY_BEAT_SCHEDULE = {NIGHTLY}\n"
DEFAULT = ("UTC", "Celery's default, because the file names no zone")

NAMED = {
    "none": (NO_ZONE, *DEFAULT),
    "conf.update before": (KOLKATA, "Asia/Kolkata", "from line 1"),
    "one that refers to Django's": (ROME, "Europe/Rome", "from line 3"),
    "Django's alone": (f"TIME_ZONE = 'Europe/Rome'\nCELERY_BEAT_SCHEDULE = {NIGHTLY}", "Europe/Rome", "from line 1"),
    "Celery's before Django's": (
        f"CELERY_TIMEZONE = 'Asia/Tokyo'\nTIME_ZONE = 'Europe/Rome'\nCELERY_BEAT_SCHEDULE = {NIGHTLY}",
        "Asia/Tokyo", "from line 1",
    ),
    "conf.update with both": (
        f"app.conf.update(\n    timezone='Asia/Kolkata',\n    beat_schedule={NIGHTLY},\n)",
        "Asia/Kolkata", "from line 2",
    ),
    "an attribute of conf": (f"app.conf.beat_schedule = {NIGHTLY}\napp.conf.timezone = 'UTC'", "UTC", "from line 2"),
    "a class": (
        f"class Config:\n    timezone = 'Europe/Rome'\n    beat_schedule = {NIGHTLY}", "Europe/Rome", "from line 2",
    ),
    "a base class": (
        f"class Base:\n    timezone = 'Europe/Rome'\nclass Config(Base):\n    beat_schedule = {NIGHTLY}",
        "Europe/Rome", "from line 2",
    ),
    "a dict": (f"S = dict(timezone='Asia/Tokyo', beat_schedule={NIGHTLY})\nCelery(**S)", "Asia/Tokyo", "from line 1"),
    "ZoneInfo": (f"timezone = ZoneInfo('Asia/Tokyo')\nbeat_schedule = {NIGHTLY}", "Asia/Tokyo", "from line 1"),
    "an object of UTC": (
        f"from datetime import timezone\napp.conf.timezone = timezone.utc\napp.conf.beat_schedule = {NIGHTLY}",
        "UTC", "from line 2",
    ),
    "a module of that name": (f"from django.utils import timezone\nbeat_schedule = {NIGHTLY}", *DEFAULT),
    "an argument of that name": (
        f"def send(timezone): ...\nOTHER = {{'timezone': 'Asia/Tokyo'}}\nbeat_schedule = {NIGHTLY}", *DEFAULT,
    ),
    "none, with settings elsewhere": (
        f"app.config_from_object('shop.settings')\nbeat_schedule = {NIGHTLY}", "UTC",
        "Celery's default, because the file names no zone (line 1 takes settings from elsewhere, which may name one)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", NAMED)
def test_the_zone_is_celerys_setting_else_utc(app: Flask, what: str) -> None:
    text, zone, why = NAMED[what]
    with app.app_context():
        found = next(one for one in from_source(f"{text}") if not one.skipped)
    assert (found.fields["timezone"], found.notes) == (zone, [f"Times are in {zone}, {why}."])


UNKNOWN = {
    "from the environment": (
        f"timezone = os.environ['TZ']\nbeat_schedule = {NIGHTLY}",
        "the time zone in line 1 cannot be read without running it",
    ),
    "from Django's settings": (
        f"from django.conf import settings\ntimezone = settings.TIME_ZONE\nbeat_schedule = {NIGHTLY}",
        "the time zone in line 2 cannot be read without running it",
    ),
    "by a branch": (
        f"timezone = 'UTC'\nif PROD:\n    timezone = 'Asia/Tokyo'\nbeat_schedule = {NIGHTLY}",
        "lines 1 and 3 name different time zones",
    ),
    "the machine's": (
        f"enable_utc = False\nbeat_schedule = {NIGHTLY}",
        "line 1 turns enable_utc off, so that Celery takes the zone of the machine it runs on",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", UNKNOWN)
def test_time_zone_missing_from_the_file_must_be_chosen(app: Flask, what: str) -> None:
    text, why = UNKNOWN[what]
    text += "\nbeat_schedule['often'] = {'task': 'add', 'schedule': 5}"
    with app.app_context():
        refused, often = from_source(text)
        chosen = from_source(text, "Asia/Tokyo")[0]
    asked = f"{why[:1].upper()}{why[1:]}. Choose the time zone: --timezone, or its field on the page."
    assert (refused.error, often.error, chosen.error) == (asked, None, None)
    assert chosen.notes == [f"Times are in Asia/Tokyo, as chosen, because {why}."]


MODULE = """
from celery import Celery
from celery.schedules import crontab

class Config:
    {config}
    beat_schedule = {nightly}

app = Celery("shop", broker="memory://", set_as_current=False)
app.config_from_object(Config)
schedule = Config.beat_schedule

@app.on_after_finalize.connect
def more(sender, **kwargs):
    sender.add_periodic_task(crontab(minute=5), sender.signature("add", (1, 2)), name="added")
"""
OBJECTS = [
    ("app.conf.beat_schedule", "timezone = 'Asia/Kolkata'", "Asia/Kolkata", "from “timezone” in the settings of"),
    ("app", "timezone = 'Asia/Kolkata'", "Asia/Kolkata", "from “timezone” in the settings of"),
    ("app", "TIME_ZONE = 'Europe/Rome'", "Europe/Rome", "from “TIME_ZONE” in the settings of"),
    ("Config.beat_schedule", "timezone = 'Europe/Rome'", "Europe/Rome", "from “timezone” in the settings of"),
    (
        "Config.beat_schedule",
        "CELERY_TIMEZONE = 'Europe/Rome'",
        "Europe/Rome",
        "from “CELERY_TIMEZONE” in the settings of",
    ),
    ("app.conf.beat_schedule", "pass", "UTC", "Celery's default, because the settings of"),
    ("schedule", "timezone = 'Europe/Rome'", "UTC", "Celery's default, because the settings of"),
    ("app", "enable_utc = False", None, "The settings of"),
]


@pytest.fixture
def their_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a module of the name `their_shop` can be written; its app is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    # In a process of its own it would not meet the tasks that other tests have registered.
    monkeypatch.setattr(_state, "_on_app_finalizers", set())
    yield tmp_path / "their_shop.py"
    sys.modules.pop("their_shop").app.close()


@pytest.mark.parametrize(("path", "config", "zone", "why"), OBJECTS)
def test_a_module_that_is_imported_has_its_apps_zone(  # noqa: PLR0917  # what is asked, and where
    app: Flask, runner: FlaskCliRunner, their_module: Path, path: str, config: str, zone: str | None, why: str
) -> None:
    their_module.write_text(MODULE.format(config=config, nightly=NIGHTLY))
    with app.app_context():
        found = {one.name: one for one in from_module(f"their_shop:{path}")}
    nightly = found["nightly"]
    said = nightly.error or nightly.notes[0]
    assert nightly.fields.get("timezone") == zone
    assert f"{why} their_shop:{path}" in said
    assert ("added" in found) is path.startswith("app")
    assert said in runner.invoke(args=["schedules", "import", "--beat-schedule", f"their_shop:{path}"]).output


def test_page_and_command_show_the_time_zone_and_its_reason(scheduler: Visitor, runner: FlaskCliRunner) -> None:
    shown_here = ("none", "conf.update before", "conf.update with both", "one that refers to Django's", "a class")
    for text, zone, why in (NAMED[what] for what in shown_here):
        said = f"Times are in {zone}, {why}."
        shown = scheduler.post("/schedules/import", {"file": text}).text.replace("&#39;", "'")
        assert said in shown
        assert "02:00" in shown
        assert "1 new" in shown
        assert said in runner.invoke(args=["schedules", "import", "-"], input=text).output
    chosen = runner.invoke(
        args=["schedules", "import", "-", "--timezone", "Asia/Tokyo", "--apply"], input=NO_ZONE
    ).output
    assert "Times are in Asia/Tokyo, as chosen, because the file names no zone." in chosen
    again = scheduler.post("/schedules/import", {"file": NO_ZONE, "timezone": "Asia/Tokyo"}).text
    assert "All of its schedules exist already" in again
    assert scheduler.read("/schedules")["schedules"][0]["timezone"] == "Asia/Tokyo"
