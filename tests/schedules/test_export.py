"""Schedules as files: the same from the page and the command line, with the filters of the list."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy_celery_beat.models import PeriodicTask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedules import service
from webapp.schedules.transfer.export import FORMATS

pytestmark = pytest.mark.each_database

DAY: dict[str, Any] = {"kind": "interval", "every": 1, "period": "days", "task": "add", "args": [1, 2]}


@pytest.fixture(autouse=True)
def ids(app: Flask) -> list[int]:
    """Three schedules, of which the second is disabled and the third has a tag."""
    with app.app_context():
        made = [
            service.create({**DAY, "name": "one", "description": "caf\u00e9 😀"}).id,
            service.create({**DAY, "name": "two", "enabled": False, "jitter": 3}).id,
            service.create({**DAY, "name": "three", "tags": ["x"], "queue": "slow"}).id,
        ]
        db.session.remove()
    return made


def names(text: str, format_: str) -> set[str]:
    if format_ == "python":
        return set(re.findall(r"^    (?:# )?'(\w+)': \{$", text, re.MULTILINE))
    found = json.loads(text) if format_ == "json" else yaml.safe_load(text)
    return {one["name"] for one in found["schedules"]}


@pytest.mark.parametrize("format_", FORMATS)
def test_page_and_command_line_write_the_same(scheduler: Visitor, runner: FlaskCliRunner, format_: str) -> None:
    answer = scheduler.get(f"/schedules/export?format={format_}")
    assert answer.headers["Content-Type"] == f"{FORMATS[format_].media_type}; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="(schedules-\d{4}-\d\d-\d\d\.(yaml|json)|beat_schedule\.py)"',
        answer.headers["Content-Disposition"],
    )
    assert names(answer.text, format_) == {"one", "two", "three"}
    assert runner.invoke(args=["schedules", "export", "--format", format_]).stdout == answer.text


@pytest.mark.parametrize("format_", FORMATS)
def test_the_filters_of_the_list_hold(scheduler: Visitor, ids: list[int], format_: str) -> None:
    wishes = {
        "q=three": {"three"}, "status=disabled": {"two"}, "tag=x&sort=next": {"three"}, "queue=slow": {"three"},
        f"id={ids[0]}": {"one"}, "q=&status=": {"one", "two", "three"}, "q=none": set(),
    }  # fmt: skip
    for wish, found in wishes.items():
        assert names(scheduler.get(f"/schedules/export?{wish}&format={format_}").text, format_) == found, wish


@pytest.mark.parametrize("format_", ["yaml", "json"])
def test_what_is_exported_changes_nothing_when_it_is_imported(scheduler: Visitor, format_: str) -> None:
    text = scheduler.get(f"/schedules/export?format={format_}").text
    answer = scheduler.post_json("/schedules/import", {"file": text, "apply": True, "remove": True})
    assert [step["action"] for step in answer.get_json()["steps"]] == ["keep"] * 3


def test_the_end_that_another_program_gave_a_row_is_exported(app: Flask, scheduler: Visitor, ids: list[int]) -> None:
    with app.app_context():
        end = "2098-01-01 00:00:00+00:00" if db.engine.dialect.name == "postgresql" else "2098-01-01 00:00:00.000000"
        of = PeriodicTask.id == ids[0]
        db.session.execute(sa.update(PeriodicTask).where(of).values(expires=sa.literal_column(f"'{end}'")))
        db.session.commit()
        db.session.remove()
    assert "end = '2098-01-01T00:00:00Z'" in scheduler.get("/schedules/export?format=python").text
    assert "end: '2098-01-01T00:00:00Z'" in scheduler.get(f"/schedules/export?id={ids[0]}").text
    # It can be taken away.
    assert scheduler.post_json(f"/schedules/{ids[0]}", {"end": ""}).status_code == 200
    assert "end:" not in scheduler.get(f"/schedules/export?id={ids[0]}").text
    with app.app_context():
        assert service.get(ids[0]).end is None


@pytest.mark.parametrize("levels", [102, 300, 900])
def test_arguments_that_no_file_can_hold_stop_no_other_schedule(
    app: Flask, scheduler: Visitor, ids: list[int], levels: int
) -> None:
    with app.app_context():
        deep = sa.update(PeriodicTask).where(PeriodicTask.id == ids[0]).values(args="[" * levels + "]" * levels)
        db.session.execute(deep.values(kwargs='{"a": ' + "[" * levels + "]" * levels + "}"))
        db.session.commit()
        db.session.remove()
    assert "'two': {" in scheduler.get("/schedules/export?format=python").text
    for format_ in ("yaml", "json"):
        text = scheduler.get(f"/schedules/export?format={format_}").text
        steps = scheduler.post_json("/schedules/import", {"file": text}).get_json()["steps"]
        assert {step["name"]: step["action"] for step in steps} == {"one": "refuse", "two": "keep", "three": "keep"}
        assert next(step for step in steps if step["name"] == "one")["errors"].keys() == {"args", "kwargs"}


def test_what_is_no_format_or_no_schedule_is_refused(scheduler: Visitor, runner: FlaskCliRunner) -> None:
    answer = scheduler.client.get("/schedules/export?format=xml", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.get_json()["fields"].keys()) == (422, {"format"})
    assert scheduler.get("/schedules/export?id=99999").status_code == 404
    assert runner.invoke(args=["schedules", "export", "--format", "xml"]).exit_code == 2


def test_programs_get_json_by_themselves(scheduler: Visitor) -> None:
    assert [one["name"] for one in scheduler.read("/schedules/export?tag=x")["schedules"]] == ["three"]
