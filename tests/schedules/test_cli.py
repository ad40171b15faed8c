from __future__ import annotations

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from webapp.extensions import db
from webapp.schedules import service

WHEN = {"task": "add", "args": [1, 2], "kind": "crontab", "timezone": "Europe/Berlin"}


@pytest.fixture(autouse=True)
def made(app: Flask) -> None:
    with app.app_context():
        service.create({**WHEN, "name": "half hours", "crontab": "*/30 * * * *", "tags": "often"})
        service.create({**WHEN, "name": "mornings", "crontab": "0 8 * * *", "enabled": False})
        db.session.remove()


def test_list(runner: FlaskCliRunner) -> None:
    out = runner.invoke(args=["schedules", "list"]).output
    assert [line.split()[1] for line in out.splitlines()] == ["enabled", "disabled"]
    assert "every day at 08:00, Europe/Berlin time" in out


def test_list_as_json(runner: FlaskCliRunner) -> None:
    found = json.loads(runner.invoke(args=["schedules", "list", "--tag", "often", "--json"]).output)
    assert [(row["name"], row["crontab"], row["enabled"]) for row in found] == [("half hours", "*/30 * * * *", True)]


def test_show(runner: FlaskCliRunner) -> None:
    shown = json.loads(runner.invoke(args=["schedules", "show", "mornings", "--json"]).output)
    assert shown["args"] == [1, 2]
    assert len(shown["next"]) == 10
    assert "every day at 08:00" in runner.invoke(args=["schedules", "show", str(shown["id"])]).output


def test_an_unknown_name_is_one_line(runner: FlaskCliRunner) -> None:
    answer = runner.invoke(args=["schedules", "show", "nothing"])
    assert answer.exit_code == 1
    assert answer.output == "Error: there is no schedule 'nothing'\n"


def test_next_finds_stored_schedules_by_name(runner: FlaskCliRunner) -> None:
    asked = ["schedules", "next", "half hours", "--after", "2027-10-31T00:00:00Z", "--count", "4", "--json"]
    found = json.loads(runner.invoke(args=asked).output)
    assert [due["local"][11:] for due in found] == [
        "02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00", "03:00:00+01:00",
    ]  # fmt: skip
