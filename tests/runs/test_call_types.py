"""JSON arguments have the types that the task asks for, wherever they are given."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy_celery_beat.models import PeriodicTask

from tests.runs import typed_tasks  # noqa: F401  # registers them
from tests.runs.making import make_run
from tests.support import reading
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.call.arguments import call_faults
from webapp.schedules import service
from webapp.task_catalogue.registry import find_task


def envelope(kind: str, value: Any) -> dict[str, Any]:
    return {"__type__": kind, "__value__": value}


DAY = envelope("date", "2027-10-30")
UUID_HEX = {"hex": "0f8fad5bd9cb469fa16570867728950e"}
RIGHT: list[tuple[str, Any]] = [
    ("count", -5), ("ratio", 2), ("ratio", 1e300), ("text", "1"), ("on", True), ("day", DAY), ("day", None),
    ("moment", envelope("datetime", "2027-10-30T22:00:00+02:00")), ("clock", envelope("time", "22:00")),
    ("price", envelope("decimal", "9.95")), ("key", envelope("uuid", UUID_HEX)), ("size", "l"), ("mode", 2),
    ("numbers", [1, 2]), ("by_name", {"a": 1.5}), ("by_name", None), ("either", "x"), ("days", [DAY]), ("guessed", 2.5),
    ("anything", {"x": [None, DAY]}),
]  # fmt: skip
WRONG: list[tuple[str, Any, str]] = [
    ("count", "a", "A whole number"), ("count", 1.5, "A whole number"), ("count", True, "A whole number"),
    ("count", None, "A whole number"), ("count", 10**100, "too large"), ("ratio", "2", "A number"),
    ("ratio", [1], "A number"), ("text", 1, "A text"), ("on", "true", "True or false"), ("on", 1, "True or false"),
    ("day", "2027-10-30", '"__type__": "date"'), ("day", envelope("date", "soon"), "worker cannot decode"),
    ("day", envelope("time", "22:00"), "A date"), ("moment", 5, "A date and time"), ("key", "x", "A UUID"),
    ("price", 9.95, '"__type__": "decimal"'), ("size", "xl", 'Choose one of: "s", "l"'),
    ("mode", "2", 'Choose one of: "fast", 2'), ("numbers", [1, "b"], "At position 2"), ("numbers", 1, "A JSON list"),
    ("by_name", {"a": "b"}, "Under “a”"), ("either", 1.5, "A whole number or A text"),
    ("days", ["2027-10-30"], "At position 1"), ("guessed", "x", "A number"),
    ("anything", envelope("shoe", 1), "worker cannot decode"),
    ("anything", [{"deep": envelope("decimal", "x")}], "worker cannot decode"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_what_fits_is_taken(context: Flask, name: str, value: Any) -> None:
    task = find_task("typed.all")
    assert task is not None
    assert call_faults(task, [], {name: value}) == {}


@pytest.mark.parametrize(("name", "value", "needed"), WRONG)
def test_what_does_not_fit_is_named_with_what_is_needed_and_what_was_given(
    context: Flask, name: str, value: Any, needed: str
) -> None:
    task = find_task("typed.all")
    assert task is not None
    (sentence,) = call_faults(task, [], {name: value}).values()
    assert f"“{name}”" in sentence
    assert needed in sentence
    assert f"Given: {json.dumps(value)}"[:50] in sentence


def test_what_takes_the_rest_is_checked_each(context: Flask) -> None:
    task = find_task("typed.rest")
    assert task is not None
    assert call_faults(task, [1, 2], {"a": "b"}) == {}
    assert call_faults(task, [1, "x"], {"a": 1}).keys() == {"args", "kwargs"}


WHEN = {"kind": "crontab", "crontab": "0 8 * * *"}
TWO = {"task": "add", "args": '["a", "b"]', "kwargs": "{}"}


def test_it_is_checked_at_every_door(admin: Visitor, runner: FlaskCliRunner) -> None:
    schedule = service.create({"name": "Sums", "task": "add", "args": [1, 2], **WHEN})
    run_id = make_run(RunState.FAILED, task="add", args="[1, 2]")
    file = json.dumps({"schedules": [{"name": "New", **TWO, **WHEN}]})
    doors: list[tuple[str, dict[str, Any]]] = [
        ("/runs/new", {**TWO, "mode": "json"}),
        ("/runs/new", {**TWO, "mode": "json", "from": run_id}),
        ("/runs/new", {"task": "add", "args": ["a", "b"]}),
        ("/schedules", {"name": "New", **TWO, **WHEN}),
        (f"/schedules/{schedule.id}", {"args": ["a", "b"], "kwargs": {}}),
        (f"/schedules/{schedule.id}/run", {"args": ["a", "b"]}),
        ("/schedules/import", {"file": file, "apply": True}),
    ]
    for path, sent in doors:
        answer = admin.post_json(path, sent)
        assert answer.status_code == 422, path
        assert '“num1”: A number is required. Given: "a".' in str(answer.json), path
        if path != "/schedules/import":
            form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in sent.items()}
            shown = admin.post(path, {**form, "mode": "json"})
            found = "“num1”: A number is required" in shown.get_data(as_text=True)
            assert (shown.status_code, found) == (422, True), path
    for command in (["runs", "launch", "add", "--args", '["a", "b"]'], ["schedules", "import", "-", "--apply"]):
        result = runner.invoke(args=command, input=file)
        assert (result.exit_code, "A number is required" in result.output) == (1, True), command
    with reading():
        assert db.session.scalars(sa.select(Run.id)).all() == [run_id]
        assert db.session.scalars(sa.select(PeriodicTask.name)).all() == ["Sums"]


def test_what_was_there_already_is_repeated_and_edited_as_it_is(admin: Visitor) -> None:
    schedule = service.create({"name": "Sums", "task": "add", "args": [1, 2], **WHEN})
    db.session.execute(sa.update(PeriodicTask).values(args='["a", "b"]'))
    db.session.commit()
    assert admin.post_json(f"/schedules/{schedule.id}", {"description": "From elsewhere"}).status_code == 200
    assert admin.post_json(f"/schedules/{schedule.id}/run", {}).status_code == 202
    run_id = make_run(RunState.FAILED, task="add", args='["a", "b"]')
    assert admin.post(f"/runs/{run_id}/retry").status_code == 303
