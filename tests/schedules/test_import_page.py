from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.schedules import service
from webapp.schedules.sources.python.values import RUN_IT

BEAT = "beat_schedule = {'sums': {'task': 'add', 'schedule': 60, 'args': (1, 2)}}"
ENTRY = "{'task': 'add', 'schedule': 60, 'args': (1, 2)}"
ADDED = f"""
CELERY_BEAT_SCHEDULE = {{"assigned": {ENTRY}}}
CELERY_BEAT_SCHEDULE["item"] = {ENTRY}
CELERY_BEAT_SCHEDULE.update({{"updated": {ENTRY}}})
if True:
    CELERY_BEAT_SCHEDULE["branch"] = {ENTRY}
CELERY_BEAT_SCHEDULE |= {{"merged": {ENTRY}}}
"""
MIXED = f"""app.conf.beat_schedule = {{"sums": {ENTRY}}}
@app.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
    sender.add_periodic_task(10.0, echo.s("hello"), name="every ten seconds")
"""
CRON = "0 6 * * * /bin/backup\n0 7 * * * /bin/report\n"


def seen(text: str) -> str:
    found = re.search(r'name="seen" value="(\w+)"', text)
    assert found is not None
    return found[1]


def runs(app: Flask) -> int:
    with app.app_context():
        count = db.session.query(Run).count()
        db.session.remove()
    return count


def test_a_file_is_uploaded_looked_at_and_imported(app: Flask, scheduler: Visitor) -> None:
    upload: dict[str, Any] = {"upload": (io.BytesIO(BEAT.encode()), "celeryconfig.py")}
    shown = scheduler.post("/schedules/import", upload).text
    assert "Read as Celery&#39;s beat_schedule, Python source." in shown
    assert "1 new" in shown
    assert "each schedule is sent twice" in shown
    # What was uploaded stands in the form, so that it can be imported without choosing it again.
    form = {"file": BEAT, "seen": seen(shown), "apply": "1"}
    assert scheduler.post("/schedules/import", form).status_code == 303
    assert scheduler.read("/schedules")["schedules"][0]["words"] == "every minute"
    assert runs(app) == 0
    again = scheduler.post("/schedules/import", {"file": BEAT}).text
    assert "All of its schedules exist already, unchanged" in again
    assert "Import</button>" not in again


def test_a_module_that_adds_to_its_schedule_is_imported_whole(scheduler: Visitor, runner: FlaskCliRunner) -> None:
    names = ["assigned", "item", "updated", "branch", "merged"]
    shown = scheduler.post("/schedules/import", {"file": ADDED}).text
    assert "5 new" in shown
    assert all(name in shown for name in names)
    done = runner.invoke(args=["schedules", "import", "-", "--apply"], input=ADDED)
    assert done.output.splitlines()[0] == "+ assigned"
    assert sorted(row["name"] for row in scheduler.read("/schedules")["schedules"]) == sorted(names)


def test_a_task_that_only_running_it_would_name_refuses_its_entry(scheduler: Visitor, runner: FlaskCliRunner) -> None:
    answer = scheduler.post_json("/schedules/import", {"file": MIXED})
    steps = {step["name"]: step for step in answer.get_json()["steps"]}
    assert {name: (step["action"], step["line"]) for name, step in steps.items()} == {
        "sums": ("create", 1), "every ten seconds": ("refuse", 4),
    }  # fmt: skip
    said = f"The name of the task “echo” cannot be read without running it; {RUN_IT}."
    assert said in steps["every ten seconds"]["errors"][""]
    assert said in scheduler.post("/schedules/import", {"file": MIXED}).text
    assert (
        f"! every ten seconds  (line 4)\n    {said}"
        in runner.invoke(args=["schedules", "import", "-"], input=MIXED).output
    )


def test_what_was_not_shown_is_not_imported(scheduler: Visitor) -> None:
    shown = seen(scheduler.post("/schedules/import", {"file": BEAT}).text)
    form = {"file": BEAT.replace("60", "90"), "seen": shown, "timezone": "Asia/Kathmandu", "apply": "1"}
    answer = scheduler.post("/schedules/import", form)
    assert answer.status_code == 200
    assert "every 90 seconds" in answer.text
    assert scheduler.read("/schedules")["schedules"] == []


def test_the_commands_of_a_crontab_are_given_tasks(visit: Callable[[str], Visitor]) -> None:
    admin = visit("admin")
    shown = admin.post("/schedules/import", {"file": CRON}).text
    assert "2 of 2 cannot be imported" in shown
    assert "line 2" in shown
    assert '<input type="hidden" name="command" value="/bin/backup">' in shown
    form = {"file": CRON, "command": ["/bin/backup", "/bin/report"], "task_of": ["people.send_birthday_emails", ""]}
    mapped = admin.post("/schedules/import", {**form, "task_of_all": "add"}).text
    # The sum takes two numbers, so a report is none.
    assert "1 of 2 cannot be imported" in mapped
    tasks = {"": "people.send_birthday_emails"}
    answer = admin.post_json("/schedules/import", {"file": CRON, "tasks": tasks, "apply": True})
    assert [step["action"] for step in answer.get_json()["steps"]] == ["create", "create"]


def test_what_is_not_in_it_is_deleted_only_when_asked_for(app: Flask, scheduler: Visitor) -> None:
    scheduler.post("/schedules/import", {"file": BEAT, "apply": "1"})
    other = BEAT.replace("sums", "others")
    assert "deleted" not in scheduler.post("/schedules/import", {"file": other}).text
    assert "1 deleted" in scheduler.post("/schedules/import", {"file": other, "remove": "1"}).text
    assert scheduler.post("/schedules/import", {"file": other, "remove": "1", "apply": "1"}).status_code == 303
    assert [row["name"] for row in scheduler.read("/schedules")["schedules"]] == ["others"]
    with app.app_context():
        entries = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.object_name == "sums")).all()
        assert [entry.action for entry in entries] == ["schedule.import", "schedule.delete"]
        db.session.remove()


def test_what_is_no_text_is_refused(scheduler: Visitor) -> None:
    answer = scheduler.post("/schedules/import", {"upload": (io.BytesIO(b"\xff\xfe\x00"), "x.bin")})
    assert answer.status_code == 422
    assert "This is not text in UTF-8 or UTF-16." in answer.text


def test_an_export_for_celery_from_the_browser_and_the_command_line(
    app: Flask, scheduler: Visitor, runner: FlaskCliRunner
) -> None:
    with app.app_context():
        service.create(
            {"name": "sums", "task": "add", "args": [1, 2], "kind": "interval", "every": 1, "period": "days"}
        )
        db.session.remove()
    source = scheduler.get("/schedules/export?format=python")
    assert source.headers["Content-Type"] == "text/x-python; charset=utf-8"
    assert "'schedule': timedelta(days=1)," in source.text
    assert runner.invoke(args=["schedules", "export", "--format", "python"]).output == source.text


def test_the_command_names_its_source_and_maps_commands(runner: FlaskCliRunner) -> None:
    command = ["schedules", "import", "-", "--task", "add", "--timezone", "Europe/Berlin"]
    shown = runner.invoke(args=[*command, "--json"], input="0 6 * * * add 1 2\n0 7 * * * a=b\n")
    assert "nothing was written: 1 of 2 cannot be imported" in shown.output
    mapped = runner.invoke(args=[*command, "--task", "a=b=people.send_birthday_emails"], input="0 7 * * * a=b\n")
    assert mapped.output.startswith("+ a=b\n")
    assert "Choose one source" in runner.invoke(args=["schedules", "import"]).output
    nothing = runner.invoke(args=["schedules", "import", "--beat-schedule", "no.such:thing"])
    assert "no.such:thing cannot be imported" in nothing.output
