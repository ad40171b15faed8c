"""Schedules with secret arguments, out of one instance and into another with its own SECRET_KEY."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.secrecy import sealing
from tests.visitors import Visitor
from webapp.extensions import celery, db
from webapp.schedules import service
from webapp.schedules.sources.yaml_file import from_yaml
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer
from webapp.web.errors import Invalid

FIELDS = {"name": "fetch", "kind": "crontab", "crontab": "0 8 * * *", "task": "fetch"}


@pytest.fixture(autouse=True)
def secret(context: Flask) -> Iterator[int]:
    """A schedule whose task takes secrets, by position and within an object; yields its number."""

    @celery.task(name="fetch", shared=False, secrets=("pin",))
    def fetch(pin: str, login: dict[str, Any]) -> None: ...

    yield service.create(
        {**FIELDS, "args": ["canary-1"], "kwargs": {"login": {"user": "maya", "token": "canary-2"}}}
    ).id
    celery.tasks.pop("fetch")
    sealing.use(context.config["SECRET_KEY"])


def exported() -> str:
    return export.export("yaml", with_seals=True).text


def test_export_lists_sealed_arguments_and_imports_exactly() -> None:
    text = exported()
    assert "canary" not in text
    assert "#   fetch: args[0], kwargs.login.token\n" in text
    assert [step.action for step in transfer.difference(from_yaml(text))] == ["keep"]


def test_another_secret_key_refuses_it_at_each_argument(app: Flask) -> None:
    text = exported()
    given = from_yaml(text)
    sealing.use("the-secret-key-of-another-instance")
    (step,) = transfer.difference(given)
    assert step.action == "refuse"
    assert step.errors["args"].startswith("“pin” was sealed with another SECRET_KEY")
    assert step.errors["kwargs"].startswith("“login” was sealed with another SECRET_KEY")
    with pytest.raises(Invalid):
        transfer.apply(given)
    db.session.remove()
    page = Visitor(app, "scheduler").post("/schedules/import", {"file": text}).text
    assert (
        "kwargs: “login” was sealed with another SECRET_KEY, for another task or argument, or altered, and cannot"
        in page
    )
    assert "1 of 1 cannot be imported" in page


def test_written_in_their_places_they_are_sealed_there(secret: int) -> None:
    sealing.use("the-secret-key-of-another-instance")
    values = yaml.safe_load(exported())
    values["schedules"][0] |= {"args": ["canary-1"], "kwargs": {"login": {"user": "maya", "token": "canary-2"}}}
    text = json.dumps(values)
    assert [step.action for step in transfer.apply(from_yaml(text))] == ["change"]
    assert "canary" not in json.dumps(service.get(secret).snapshot)
    # The same values once more are no change.
    assert [step.action for step in transfer.difference(from_yaml(text))] == ["keep"]


def test_source_for_celerys_beat_has_no_sealed_text(runner: FlaskCliRunner) -> None:
    source = export.export("python", with_seals=True).text
    assert "sealed:" not in source
    assert "canary" not in source
    assert "Secret, and not written here: args[0], kwargs.login.token." in source
    values: dict[str, Any] = {}
    exec(source, values)  # what we wrote
    assert values["beat_schedule"]["fetch"]["args"] == ["•••"]
    db.session.remove()
    shown = runner.invoke(args=["schedules", "export"])
    assert "Secret arguments are sealed and need the same SECRET_KEY: 1 schedule." in shown.stderr
