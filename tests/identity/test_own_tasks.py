"""Beatdesk's own tasks: only admins run and schedule them, in whatever way; each refusal is audited."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

import tests.runs.namesake_tasks  # noqa: F401  # it registers its task
from beatdesk.execution.ids import new_id
from tests.support import reading
from tests.visitors import Visitor
from webapp.extensions import celery, db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.schedule_store.models import ScheduleVersion
from webapp.schedule_store.rows import TASKS
from webapp.task_catalogue.registry import is_own

OWN = "mail.send_mail"
FIELDS = {"kind": "crontab", "crontab": "30 8 * * *", "timezone": "UTC"}
CALL = {"task": OWN, "args": "[1]"}
Attack = Callable[[Visitor, int, int, str], Any]


def imported(**more: Any) -> dict[str, Any]:
    entry = {"name": "Letters", **FIELDS, **CALL, "args": [1], **more}
    return {"file": json.dumps({"schedules": [entry]}), "format": "json", "apply": True}


# Of a visitor, the number of a schedule of an own task, that of another one, and the id of an own run that has ended.
ATTACKS: dict[str, tuple[str, Attack]] = {
    "launch": ("operator", lambda who, *_: who.post("/runs/new", {**CALL, "mode": "json", "kwargs": "{}"})),
    "launch as JSON": ("operator", lambda who, *_: who.post_json("/runs/new", {"task": OWN, "args": [1]})),
    "launch from another run": (
        "operator",
        lambda who, _own, _other, run: who.post("/runs/new", {**CALL, "mode": "json", "kwargs": "{}", "from": run}),
    ),
    "retry": ("operator", lambda who, _own, _other, run: who.post(f"/runs/{run}/retry")),
    "run now": ("operator", lambda who, own, *_: who.post(f"/schedules/{own}/run")),
    "run now as JSON": ("operator", lambda who, own, *_: who.post_json(f"/schedules/{own}/run", {"args": [7]})),
    "create": ("scheduler", lambda who, *_: who.post("/schedules", {**FIELDS, **CALL, "name": "Letters"})),
    "create as JSON": ("scheduler", lambda who, *_: who.post_json("/schedules", {**FIELDS, **CALL, "name": "Letters"})),
    "edit": ("scheduler", lambda who, own, *_: who.post_json(f"/schedules/{own}", {"crontab": "* * * * *"})),
    "make it another task's": ("scheduler", lambda who, own, *_: who.post_json(f"/schedules/{own}", {"task": "add"})),
    "make another its": ("scheduler", lambda who, _own, other, _: who.post_json(f"/schedules/{other}", CALL)),
    "disable": ("scheduler", lambda who, own, *_: who.post(f"/schedules/{own}/disable")),
    "delete": ("scheduler", lambda who, own, *_: who.post(f"/schedules/{own}/delete")),
    "restore": ("scheduler", lambda who, own, *_: who.post(f"/schedules/{own}/versions/1/restore")),
}


@pytest.fixture
def numbers(admin: Visitor) -> tuple[int, int]:
    """The numbers of a schedule of an own task, and of one of another task."""
    own = admin.post_json("/schedules", {**FIELDS, **CALL, "name": "Own"})
    other = admin.post_json("/schedules", {**FIELDS, "task": "add", "args": "[1, 2]", "name": "Other"})
    return int(own.get_json()["id"]), int(other.get_json()["id"])


@pytest.fixture
def run_id(context: Flask) -> str:
    """A run of an own task that has failed."""
    run = Run(id=new_id(), task=OWN, args="[1]", kwargs="{}", state=RunState.FAILED, origin=Origin.LAUNCH)
    db.session.add(run)
    db.session.commit()
    return str(run.id)


def test_only_an_admin_runs_and_schedules_them(
    app: Flask, admin: Visitor, numbers: tuple[int, int], run_id: str
) -> None:
    visitors = {role: Visitor(app, role) for role in ("operator", "scheduler")}
    before = facts()
    for name, (role, attack) in ATTACKS.items():
        noted = refusals()
        for visitor in {role, "scheduler"}:
            answer = attack(visitors[visitor], *numbers, run_id)
            assert answer.status_code == 403, name
            assert "Only admins can run or schedule" in answer.text, name
        assert refusals() - noted == len({role, "scheduler"}), name
        assert facts() == before, name
    # The same by an admin, least of all what ends the schedule.
    for name in ("launch", "retry", "run now as JSON", "create", "edit", "make another its", "disable"):
        assert attack_of(name)(admin, *numbers, run_id).status_code < 400, name
    assert facts() != before


def test_many_at_once_are_refused_one_by_one(app: Flask, numbers: tuple[int, int], run_id: str) -> None:
    scheduler, before = Visitor(app, "scheduler"), facts()
    for action in ("run", "disable", "tag", "delete"):
        answer = scheduler.post_json(f"/schedules/bulk/{action}", {"ids": [numbers[0]], "add": "mine"})
        assert (answer.get_json()["done"], list(answer.get_json()["refused"])) == (0, ["Own"]), action
    noted = refusals()
    scheduler.post("/runs/retry-all", {"confirmed": "1", "q": f"task:{OWN}"})
    assert (facts(), refusals()) == (before, noted + 1)


def test_an_unconfirmed_one_is_not_sent_again(app: Flask, admin: Visitor, run_id: str) -> None:
    db.session.execute(sa.update(Run).where(Run.id == run_id).values(state=RunState.UNCONFIRMED))
    db.session.commit()
    assert Visitor(app, "operator").post(f"/runs/{run_id}/send-again").status_code == 403
    assert admin.post(f"/runs/{run_id}/send-again").status_code == 303


def test_an_import_writes_none_of_them(context: Flask, numbers: tuple[int, int]) -> None:
    scheduler, before, noted = Visitor(context, "scheduler"), facts(), refusals()
    for entry in (imported(), imported(name="Own", crontab="1 1 * * *"), imported(name="Other")):
        answer = scheduler.post_json("/schedules/import", entry)
        assert (answer.status_code, "Only admins" in answer.text) == (422, True)
    assert (facts(), refusals()) == (before, noted + 3)
    # What an export has of them stands in the way of nothing, and what is not in the file stays.
    kept = scheduler.post_json("/schedules/import", imported(name="Own"))
    assert [step["action"] for step in kept.get_json()["steps"]] == ["keep"]
    other = imported(name="New", task="add", args=[1, 2]) | {"remove": True}
    steps = {
        step["name"]: step["action"] for step in scheduler.post_json("/schedules/import", other).get_json()["steps"]
    }
    assert (steps["Own"], steps["Other"], steps["New"]) == ("skip", "remove", "create")


def test_pages_offer_what_may_be_done(app: Flask, admin: Visitor, numbers: tuple[int, int]) -> None:
    own, scheduler = f"/schedules/{numbers[0]}", Visitor(app, "scheduler")
    assert "only admins can run or change it" in scheduler.get(own).text
    for action in (f'"{own}/run"', f'"{own}/edit"', f'"{own}/delete"', f'"{own}/disable"'):
        assert action in admin.get(own).text
        assert action not in scheduler.get(own).text
    for path in ("/runs/new", "/schedules/new"):
        assert f'value="{OWN}"' in admin.get(path).text
        assert f'value="{OWN}"' not in scheduler.get(path).text
    for path in (f"{own}/edit", f"/schedules/new?clone={numbers[0]}"):
        assert (scheduler.get(path).status_code, admin.get(path).status_code) == (403, 200)


def test_where_a_task_is_defined_decides(app: Flask) -> None:
    celery.loader.import_default_modules()
    own = {name for name in celery.tasks if is_own(name)}
    assert own == {"mail.send_mail", "people.send_birthday_emails", "report.send_morning_reports", "runs.retain"}
    operator = Visitor(app, "operator")
    assert operator.post_json("/runs/new", {"task": "mail.count_letters", "args": ["Asha"]}).status_code == 303


def attack_of(name: str) -> Attack:
    return ATTACKS[name][1]


def facts() -> tuple[int, int, list[Any]]:
    """Everything that an attack would change: the runs, the versions, and the schedules."""
    with reading():
        rows = db.session.execute(sa.select(TASKS.c.name, TASKS.c.task, TASKS.c.enabled).order_by(TASKS.c.id))
        return counted(Run), counted(ScheduleVersion), [tuple(row) for row in rows]


def refusals() -> int:
    with reading():
        return counted(AuditEntry, AuditEntry.action.endswith(".refuse"))


def counted(model: Any, *where: Any) -> int:
    return int(db.session.scalar(sa.select(sa.func.count()).select_from(model).where(*where)) or 0)
