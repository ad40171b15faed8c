"""The schedules of a Django project, imported from its database and from its dump: they fire when they did before."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.adoption.environments import ENVIRONMENTS
from tests.adoption.shapes import PACKAGES, SHAPES, Project
from tests.outages import NOWHERE
from tests.support import reading
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store import stored
from webapp.schedule_store.definition import iso
from webapp.schedule_store.rows import TASKS, select_schedules
from webapp.schedule_store.stored import Stored
from webapp.task_catalogue import announced
from webapp.task_catalogue.registry import forget_announced

pytestmark = pytest.mark.slow
DJANGO = f"{PACKAGES}.django_shop"
# As in the project's own module of rows.
AFTER = datetime.fromisoformat("2027-06-15T10:02:07+00:00")


def found() -> dict[str, Stored]:
    """The schedules that were imported, by name."""
    with reading():
        return {one.name: one for one in stored.load(db.session, select_schedules().order_by(TASKS.c.name))}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_row_fires_as_django_celery_beat_fires_it(
    context: Flask, runner: FlaskCliRunner, tmp_path: Path, environment: str
) -> None:
    with db.engine.begin() as connection:
        announced.keep(connection, {"celery@shop": ["django_shop.record"]}, {}, now())
    forget_announced()
    project = Project(SHAPES["django_shop"], environment, NOWHERE, NOWHERE, tmp_path / "shop")
    expected: dict[str, list[str]] = json.loads(project.run(f"{DJANGO}.rows", environment))
    assert len(expected) > 60
    database = ["--database", f"sqlite:///{project.folder / 'shop.db'}"]
    result = runner.invoke(args=["schedules", "import", *database, "--apply"])
    assert result.exit_code == 0, result.output
    imported = found()
    for name, moments in expected.items():
        computed = [each.utc for each in imported[name].due_times(AFTER, len(moments))]
        # The sun's times, which it has with fractions, are whole seconds here.
        assert all(
            abs(ours - datetime.fromisoformat(theirs)) < timedelta(seconds=1)
            for ours, theirs in zip(computed, moments, strict=True)
        ), (name, computed, moments)
    assert imported["disabled"].snapshot == imported["disabled"].snapshot | {"enabled": False, "expire_seconds": 90}
    assert imported["has run"].snapshot == imported["has run"].snapshot | {"enabled": False, "max_runs": 1}
    everything = imported["all of it"].snapshot
    assert everything == everything | {
        "args": [1], "kwargs": {"call": "x"}, "queue": "orders", "priority": 7, "enabled": True,
        "start": iso(AFTER), "end": iso(AFTER + timedelta(days=9)), "description": "What it is for.",
    }  # fmt: skip
    assert "“headers” is not supported and is left out." in result.output
    # Its worker has no such task, so the schedule waits for one.
    assert not imported["nobody's"].snapshot["enabled"]
    assert "The task “nobody.knows” is not registered, so it is imported disabled." in result.output
    # Its dump says the same, on the page as well.
    dump = project.run(f"{DJANGO}.dump")
    page = Visitor(context, "admin").post("/schedules/import", {"file": dump})
    assert page.status_code == 200
    steps = runner.invoke(args=["schedules", "import", "-", "--json"], input=dump)
    assert {step["action"] for step in json.loads(steps.output)} == {"keep"}
