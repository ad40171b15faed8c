from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.schedule_store import stored
from webapp.schedule_store.rows import TASKS, select_schedules
from webapp.schedules import service
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.yaml_file import from_yaml, to_yaml
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer
from webapp.web.errors import Invalid

pytestmark = pytest.mark.each_database

WHEN = {"task": "add", "args": [1, 2]}
ALL: list[dict[str, Any]] = [
    {
        "name": "a crontab",
        "kind": "crontab",
        "crontab": "*/30 * * * *",
        "timezone": "Europe/Berlin",
        "tags": ["x", "no"],
    },
    {"name": "b interval", "kind": "interval", "every": 90, "period": "seconds", "enabled": False, "jitter": 1.5},
    {"name": "c solar", "kind": "solar", "event": "sunset", "latitude": 27.7, "longitude": -85.25, "queue": "slow"},
    {"name": "d öne time", "kind": "clocked", "at": "2099-01-01T00:00:00Z", "description": "two\nlines: yes"},
]


@pytest.fixture(autouse=True)
def made(context: Flask) -> None:
    for fields in ALL:
        service.create({**WHEN, **fields})


def snapshots() -> list[dict[str, Any]]:
    return [found.snapshot for found in stored.load(db.session, select_schedules().order_by(TASKS.c.name))]


def as_given(entries: list[dict[str, Any]]) -> list[Given]:
    return [Given(entry["name"], entry) for entry in entries]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_round_trip_is_exact(as_json: bool) -> None:
    before, entries = snapshots(), export.entries()
    text = json.dumps({"schedules": entries}) if as_json else to_yaml(entries)
    assert {step.action for step in transfer.difference(from_yaml(text))} == {"keep"}
    for row in snapshots():
        found = stored.find_named(db.session, row["name"])
        assert found is not None
        service.delete(found.id)
    assert snapshots() == []
    assert {step.action for step in transfer.apply(from_yaml(text))} == {"create"}
    assert snapshots() == before


def test_the_file_has_only_what_matters() -> None:
    entries = export.entries()
    assert entries[1] == {
        "name": "b interval", "task": "add", "kind": "interval", "every": 90, "period": "seconds",
        "args": [1, 2], "enabled": False, "jitter": 1.5,
    }  # fmt: skip


def test_the_difference_comes_first_and_only_changes_are_written() -> None:
    entries = export.entries()
    entries[0]["crontab"] = "0 5 * * *"
    entries.append({**entries[1], "name": "e new"})
    steps = transfer.difference(as_given(entries))
    assert [step.action for step in steps] == ["change", "keep", "keep", "keep", "create"]
    change = steps[0].changes[0]
    assert (change.field, change.before, change.after) == ("crontab", "*/30 * * * *", "0 5 * * *")
    assert len(snapshots()) == 4
    transfer.apply(as_given(entries))
    assert [row["name"] for row in snapshots()][-1] == "e new"
    imports = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "schedule.import")).all()
    assert sorted(row.object_name for row in imports) == ["a crontab", "e new"]


def test_one_wrong_entry_and_nothing_is_written() -> None:
    before, entries = snapshots(), export.entries()
    entries[0]["crontab"] = "0 5 * * *"
    entries[1]["priority"] = 99
    with pytest.raises(Invalid) as caught:
        transfer.apply(as_given(entries))
    assert caught.value.fields == {"b interval: priority": "It must be at most 9."}
    db.session.rollback()
    assert snapshots() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "schedules: 3",
        "schedules: [3]",
        "a: [",
        "!!python/name:os.system",
        "[" * 9999,
    ],
)
def test_what_is_no_file_of_schedules_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        from_yaml(text)
    assert caught.value.fields.keys() == {"file"}


def test_from_the_browser(scheduler: Visitor) -> None:
    db.session.remove()
    file = scheduler.get("/schedules/export").text
    changed = file.replace("*/30 * * * *", "*/20 6 * * *")
    shown = scheduler.post("/schedules/import", {"file": changed})
    assert "*/20 6 * * *</ins>" in shown.text
    assert ">Import</button>" in shown.text
    assert scheduler.get("/schedules/export").text == file
    assert scheduler.post("/schedules/import", {"file": changed, "apply": "1"}).status_code == 303
    assert scheduler.get("/schedules/export").text == changed
    wrong = scheduler.post("/schedules/import", {"file": "schedules: [{name: bad}]", "apply": "1"})
    assert wrong.status_code == 422
    assert "task: Choose a task." in wrong.text
    assert "1 of 1 cannot be imported" in wrong.text
    assert scheduler.post_json("/schedules/import", {"file": "a: ["}).get_json()["fields"].keys() == {"file"}


def test_the_commands(runner: FlaskCliRunner, tmp_path: Path) -> None:
    db.session.remove()
    file = tmp_path / "schedules.yaml"
    assert runner.invoke(args=["schedules", "export", "-o", str(file)]).exit_code == 0
    file.write_text(file.read_text(encoding="utf-8").replace("*/30 * * * *", "0 6 * * *"), encoding="utf-8")
    shown = runner.invoke(args=["schedules", "import", str(file)])
    assert "~ a crontab\n    crontab: */30 * * * * -> 0 6 * * *" in shown.output
    assert "Nothing was written" in shown.output
    assert runner.invoke(args=["schedules", "import", str(file), "--apply"]).exit_code == 0
    assert '"crontab": "0 6 * * *"' in runner.invoke(args=["schedules", "show", "a crontab", "--json"]).output
    file.write_text("schedules: [{name: bad, task: add}]", encoding="utf-8")
    refused = runner.invoke(args=["schedules", "import", str(file), "--apply"])
    assert refused.exit_code == 1
    assert "! bad  (line 1)\n" in refused.output
    assert "Error: nothing was written: 1 of 1 cannot be imported" in refused.output
