"""The pages of pauses and change windows, and the banner on every other page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support import reading
from tests.visitors import Visitor, field_errors, number_of
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.schedule_store.models import SchedulePause, ScheduleRevision

Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def number(scheduler: Visitor, filled: Filled) -> int:
    scheduler.post("/schedules", filled(name="other", crontab="0 * * * *"))
    return number_of(scheduler.post("/schedules", filled(tags="reports", crontab="0 * * * *")))


def later(**length: float) -> str:
    return (now() + timedelta(**length)).isoformat()


def everything(**more: Any) -> dict[str, Any]:
    return {"scope": "everything", "reason": "maintenance", **more}


def skipped_run(app: Flask, schedule_id: int, pause_id: int | None, reason: str) -> None:
    with app.app_context():
        due = now()
        run = Run(id=f"run-{due.timestamp()}", task="add", state="skipped", reason=reason, pause_id=pause_id)
        run.schedule_id, run.due_at, run.ended_at = schedule_id, due, due
        db.session.add(run)
        db.session.commit()
        db.session.remove()


def test_pausing_everything_is_one_row_and_one_revision(app: Flask, operator: Visitor, number: int) -> None:
    assert number
    with app.app_context():
        before = db.session.scalar(sa.select(ScheduleRevision.revision)) or 0
        db.session.remove()
    answer = operator.post("/schedules/pauses", everything())
    assert answer.status_code == 303
    with app.app_context(), reading():
        row = db.session.scalars(sa.select(SchedulePause)).one()
        assert (row.revision, row.author, row.ends_at) == (before + 1, "Sita Gurung", None)
        entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.object_type == "pause")).one()
        assert (entry.action, entry.object_id) == ("pause.create", str(row.id))
    assert "2 schedules paused" in operator.get("/schedules/pauses").text


@pytest.mark.usefixtures("number")
def test_every_page_shows_the_pause_to_viewers_of_schedules(operator: Visitor, visit: Callable[[str], Visitor]) -> None:
    assert "is paused" not in operator.get("/runs").text
    operator.post("/schedules/pauses", everything(until=later(hours=2)))
    for path in ("/", "/runs", "/schedules", "/workers"):
        page = operator.get(path).text
        assert "data-countdown>" in page, path
        assert "are paused: maintenance." in page, path
    assert "data-countdown" not in visit("member").get("/account").text
    operator.post_json("/schedules/pauses/1/resume")
    assert "is paused" not in operator.get("/runs").text
    assert "hx-trigger" not in operator.get("/schedules/pauses/banner", htmx=True).text


@pytest.mark.usefixtures("number")
@pytest.mark.parametrize(("hours", "announced"), [(2, True), (23, True), (30, False)])
def test_change_window_is_announced_a_day_ahead(operator: Visitor, hours: float, announced: bool) -> None:
    operator.post("/schedules/pauses", everything(**{"from": later(hours=hours), "until": later(hours=hours + 1)}))
    assert ("will be paused: maintenance" in operator.get("/runs").text) is announced
    assert operator.read("/schedules")["schedules"][0]["paused"] is False


def test_a_window_can_be_changed_and_deleted_until_it_begins(app: Flask, operator: Visitor, number: int) -> None:
    assert number
    window = everything(**{"from": later(hours=2), "until": later(hours=3)})
    made = operator.post_json("/schedules/pauses", window).get_json()
    changed = operator.post_json(f"/schedules/pauses/{made['id']}", {"scope": "tags", "tags": "reports"}).get_json()
    assert (changed["tags"], changed["from"]) == (["reports"], made["from"])
    assert operator.post_json(f"/schedules/pauses/{made['id']}/resume").status_code == 409
    assert operator.post_json(f"/schedules/pauses/{made['id']}/delete").get_json() == {"deleted": made["id"]}
    assert operator.get(f"/schedules/pauses/{made['id']}").status_code == 404
    on = operator.post_json("/schedules/pauses", everything()).get_json()
    assert operator.post_json(f"/schedules/pauses/{on['id']}/delete").status_code == 409
    longer = operator.post_json(f"/schedules/pauses/{on['id']}", {"until": later(hours=5), "scope": "tags"}).get_json()
    assert (longer["tags"], longer["until"] is not None) == ([], True)
    operator.post_json(f"/schedules/pauses/{on['id']}/resume")
    assert operator.post_json(f"/schedules/pauses/{on['id']}", {"reason": "again"}).status_code == 409
    with app.app_context(), reading():
        actions = db.session.scalars(sa.select(AuditEntry.action).where(AuditEntry.object_type == "pause")).all()
    assert actions == [f"pause.{act}" for act in ("create", "update", "delete", "create", "update", "resume")]


@pytest.mark.usefixtures("number")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"reason": "x"}, "tags"),
        ({"scope": "tags", "tags": "reprots", "reason": "x"}, "tags"),
        ({"scope": "everything"}, "reason"),
        (everything(until="2001-01-01T00:00"), "until"),
        (everything(**{"from": "2001-01-01T00:00"}), "from"),
        (everything(**{"from": "2098-01-01T00:00"}), "until"),
        (everything(on_resume="perhaps"), "on_resume"),
    ],
)
def test_invalid_pause_shows_the_error_at_its_field(operator: Visitor, given: dict[str, Any], field: str) -> None:
    answer = operator.post("/schedules/pauses", given)
    assert answer.status_code == 422
    assert list(field_errors(answer)) == [field]
    assert operator.post_json("/schedules/pauses", given).get_json()["fields"].keys() == {field}


def test_resume_page_shows_how_many_runs_were_due(app: Flask, operator: Visitor, number: int) -> None:
    made = operator.post_json("/schedules/pauses", everything()).get_json()["id"]
    skipped_run(app, number, made, "paused: maintenance")
    page = operator.get(f"/schedules/pauses/{made}").text
    assert "1 run of 1 schedule came due during the pause." in page
    assert page.count('type="radio"') == 4
    answer = operator.post_json(f"/schedules/pauses/{made}/resume", {"on_resume": "run once"}).get_json()
    assert (answer["on_resume"], answer["meanwhile"]) == ("run once", {"runs": 1, "schedules": 1})
    assert answer["ended_by"] == "Sita Gurung"


@pytest.mark.parametrize(
    ("choice", "caught_up", "settled", "shown"),
    [
        ("skip", 0, False, "None: these runs are skipped"),
        ("skip", 0, True, "None: these runs are skipped"),
        ("skip", 1, True, "1 run that came due after it ended"),
        ("run all", 0, False, "0 runs so far, still catching up"),
        ("run all", 3, False, "3 runs so far, still catching up"),
        ("run all", 3, True, "3 runs"),
    ],
)
def test_ended_pause_shows_what_was_caught_up(
    app: Flask, operator: Visitor, number: int, *, choice: str, caught_up: int, settled: bool, shown: str
) -> None:
    made = operator.post_json("/schedules/pauses", everything()).get_json()["id"]
    skipped_run(app, number, made, "paused: maintenance")
    operator.post_json(f"/schedules/pauses/{made}/resume", {"on_resume": choice})
    with app.app_context():
        # As beat writes.
        values = {"caught_up": caught_up, "settled_at": now() if settled else None}
        db.session.execute(sa.update(SchedulePause).values(values))
        db.session.commit()
    page = " ".join(operator.get(f"/schedules/pauses/{made}").text.split())
    assert f"<dt>Caught up</dt> <dd> {shown} </dd>" in page


def test_one_schedules_pause_is_made_up_for_too(app: Flask, operator: Visitor, number: int) -> None:
    operator.post(f"/schedules/{number}/pause", {"reason": "moving"})
    skipped_run(app, number, None, "paused: moving")
    skipped_run(app, number, None, "skipped in advance by Sita")
    assert "1 run came due during the pause." in operator.get(f"/schedules/{number}").text
    operator.post(f"/schedules/{number}/resume", {"on_resume": "run all"})
    with app.app_context(), reading():
        row = db.session.scalars(sa.select(SchedulePause)).one()
        assert (row.schedule_id, row.on_resume, row.reason) == (number, "run all", "moving")
        marked = db.session.execute(sa.select(Run.reason).where(Run.pause_id == row.id)).scalars().all()
        assert marked == ["paused: moving"]
    assert operator.read("/schedules/pauses") == {"active": [], "planned": [], "over": []}
    assert operator.get("/schedules/pauses/1").status_code == 404


def test_the_list_and_the_schedule_show_what_holds_them(operator: Visitor, number: int) -> None:
    end = (now() + timedelta(hours=3)).replace(minute=30, second=0, microsecond=0)
    given = {"scope": "tags", "tags": "reports", "reason": "move", "until": end.isoformat()}
    operator.post("/schedules/pauses", given)
    rows = {row["name"]: row for row in operator.read("/schedules")["schedules"]}
    assert datetime.fromisoformat(rows["Sums"]["next_due_at"]) == end + timedelta(minutes=30)
    assert datetime.fromisoformat(rows["other"]["next_due_at"]) < end
    names = [
        [row["name"] for row in operator.read(f"/schedules?status={status}")["schedules"]]
        for status in ("paused", "enabled")
    ]
    assert names == [["Sums"], ["other"]]
    page = operator.get(f"/schedules/{number}").text
    assert "Paused: move, by Sita Gurung" in page
    assert page.count("will be skipped: paused: move, by Sita Gurung") >= 3


def test_rehearsal_preview_and_diagnosis_name_it(operator: Visitor, scheduler: Visitor, number: int) -> None:
    begin = now().replace(minute=30, second=0, microsecond=0) + timedelta(hours=3)
    window = {"from": begin.isoformat(), "until": (begin + timedelta(hours=2)).isoformat()}
    operator.post("/schedules/pauses", {"scope": "tags", "tags": "reports", "reason": "move", **window})
    span = f"from={begin:%Y-%m-%dT%H:%M}Z&to={begin + timedelta(hours=4):%Y-%m-%dT%H:%M}Z"
    found = operator.read(f"/schedules/rehearsal?{span}")
    assert found["total"] == 6
    rows = operator.get(f"/schedules/rehearsal.csv?{span}").text.splitlines()[1:]
    held = [row for row in rows if "paused: move, by Sita Gurung" in row]
    assert (len(rows), len(held)) == (8, 2)
    assert all("Sums" in row for row in held)
    preview = scheduler.post("/schedules/preview", {"schedule_id": str(number), "description": "x"}, htmx=True)
    assert preview.text.count("will be skipped: paused: move") == 2
    due = (begin + timedelta(minutes=30)).isoformat().replace("+00:00", "Z")
    links = {link["name"]: link for link in operator.read(f"/schedules/{number}/why?due={due}")["links"]}
    assert "It will be skipped then: paused: move, by Sita Gurung" in links["Pause"]["found"]
    operator.post("/schedules/pauses", everything())
    links = {link["name"]: link for link in operator.read(f"/schedules/{number}/why")["links"]}
    assert "paused: maintenance, by Sita Gurung" in links["Pause"]["found"]


@pytest.mark.usefixtures("number")
def test_a_viewer_sees_and_does_not_pause(visit: Callable[[str], Visitor]) -> None:
    viewer = visit("viewer")
    assert viewer.get("/schedules/pauses").status_code == 200
    assert viewer.post_json("/schedules/pauses", everything()).status_code == 403
