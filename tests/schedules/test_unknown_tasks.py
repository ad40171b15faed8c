"""Schedules with an unknown task: imported as disabled, marked, and never fired until the task is registered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.scheduler.beats import FakeTime, Rig, drive
from tests.support import reading
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.schedule_store import stored
from webapp.schedule_store.rows import TASKS
from webapp.schedules import service
from webapp.schedules.sources.yaml_file import from_yaml, to_yaml
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer

pytestmark = pytest.mark.each_database

NAME = "shop.tasks.removed"
DUMP = json.dumps([
    {"model": "django_celery_beat.intervalschedule", "pk": 1, "fields": {"every": 30, "period": "seconds"}},
    {"model": "django_celery_beat.periodictask", "pk": 3, "fields": {
        "name": "orphan", "task": NAME, "interval": 1, "args": "[]", "kwargs": '{"token": "canary"}', "enabled": True,
    }},
])  # fmt: skip


@pytest.fixture
def imported(scheduler: Visitor) -> int:
    """The schedule's number, after an import of the dump."""
    answer = scheduler.post_json("/schedules/import", {"file": DUMP, "apply": True}).get_json()
    assert answer["steps"][0]["notes"][0].startswith(
        f"The task “{NAME}” is not registered, so it is imported disabled."
    )
    (row,) = scheduler.read("/schedules")["schedules"]
    assert (row["enabled"], row["task_unknown"], row["kwargs"]) == (False, True, {"token": "•••"})
    return int(row["id"])


@pytest.fixture
def register() -> Iterator[Callable[[], None]]:
    """Makes the task known."""

    def known() -> None:
        @celery.task(name=NAME, shared=False)
        def removed(token: str) -> None: ...

    yield known
    celery.tasks.pop(NAME, None)


def test_it_is_marked_and_refuses_to_be_enabled_or_run(scheduler: Visitor, imported: int) -> None:
    for path in ("/schedules", f"/schedules/{imported}"):
        page = scheduler.get(path).text
        assert "task unknown" in page
        assert "disabled" in page
    assert f"The task {NAME} is not registered" in scheduler.get(f"/schedules/{imported}").text
    assert f"/schedules/{imported}/enable" not in scheduler.get("/schedules").text
    for action in ("enable", "run"):
        refused = scheduler.post_json(f"/schedules/{imported}/{action}").get_json()
        assert refused["fields"].keys() == {"task"}
    # The rest of it can be edited, and its task stays chosen.
    edit = scheduler.get(f"/schedules/{imported}/edit").text
    assert re.search(rf'<option value="{NAME}" selected>', edit)
    assert scheduler.post_json(f"/schedules/{imported}", {"description": "Waits for the shop."}).status_code == 200
    again = scheduler.post_json("/schedules/import", {"file": DUMP}).get_json()["steps"][0]
    assert again["changes"] == {"description": ["Waits for the shop.", ""]}


def test_the_command_line_lists_it_so(runner: FlaskCliRunner, imported: int) -> None:
    (line,) = runner.invoke(args=["schedules", "list"]).stdout.splitlines()
    assert "  task unknown  " in line


def test_its_secrets_are_sealed_as_those_of_a_known_task(app: Flask, imported: int) -> None:
    with app.app_context(), reading():
        kwargs = db.session.scalar(sa.select(TASKS.c.kwargs).where(TASKS.c.id == imported))
    assert kwargs is not None
    assert json.loads(kwargs)["token"].startswith("sealed:v2:")


def test_beat_never_fires_it_even_enabled_by_other_hands(beats: Rig, scheduler: Visitor, imported: int) -> None:
    time = FakeTime(now())
    core = beats.leading(time)
    drive(core, time, now() + timedelta(minutes=5))
    beats.edit(imported, now(), enabled=True)
    time.pass_by(1)
    core.step(woken=True)
    drive(core, time, now() + timedelta(minutes=10))
    assert beats.runs(imported) == []
    assert "task unknown" in scheduler.get(f"/schedules/{imported}").text


def test_once_the_task_is_known_it_is_enabled_and_fires(
    beats: Rig, scheduler: Visitor, imported: int, register: Callable[[], None]
) -> None:
    register()
    assert "task unknown" not in scheduler.get(f"/schedules/{imported}").text
    assert scheduler.post_json(f"/schedules/{imported}/enable").status_code == 200
    time = FakeTime(now())
    drive(beats.leading(time), time, now() + timedelta(seconds=65))
    assert len(beats.runs(imported)) == 2


def test_a_file_of_ours_brings_it_back_as_it_was(app: Flask, runner: FlaskCliRunner, imported: int) -> None:
    with app.app_context():
        entries = export.entries(with_seals=True)
        service.delete(imported)
        assert [step.action for step in transfer.apply(from_yaml(to_yaml(entries)))] == ["create"]
        found = stored.find_named(db.session, "orphan")
        assert found is not None
        assert (found.row.task, found.row.enabled) == (NAME, False)
        # Enabled, it is refused: our own files say what they mean.
        (step,) = transfer.difference(from_yaml(to_yaml([{**entries[0], "enabled": True}])))
        assert step.errors == {"task": f"The task “{NAME}” is not registered."}
        db.session.remove()
