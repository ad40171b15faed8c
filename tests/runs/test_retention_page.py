"""`/runs/retention`: an admin sets for how long runs are kept."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from tests.runs.making import make_run, make_runs
from tests.support import reading
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.retention import service

PATH = "/runs/retention"
TYPED = {"days_succeeded": "7", "days_failed": "", "days_missed": "90"}


def audited() -> list[AuditEntry]:
    with reading():
        return list(db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "retention.set")))


def test_page_shows_how_many_runs_each_rule_concerns(admin: Visitor) -> None:
    make_run(RunState.FAILED, age=91 * 86_400.0)
    cleaning = make_run(task="runs.retain", result=json.dumps({"deleted": {"succeeded": 12345}}))
    page = admin.get(PATH).text
    assert "About 1 run is older and will be deleted at the next cleanup." in page
    assert page.count("No runs are older.") == len(service.DEFAULTS) - 1
    assert "12,345" in page
    assert f"/runs/{cleaning}" in page
    assert "No schedule deletes old runs" in page


def test_saved_rules_are_in_force_and_audited_once(admin: Visitor) -> None:
    assert admin.post(PATH, TYPED).status_code == 303
    assert admin.post(PATH, TYPED).status_code == 303
    with reading():
        rules = service.rules()
    assert rules == {**service.DEFAULTS, RunState.SUCCEEDED: 7, RunState.FAILED: None}
    (entry,) = audited()
    assert json.loads(entry.before or "") == {"succeeded": "30 days", "failed": "90 days"}
    assert json.loads(entry.after or "") == {"succeeded": "7 days", "failed": "forever"}


@pytest.mark.parametrize("days", ["0", "-1", "a week", "3651", "1.5", "٣", "99999999999"])
def test_invalid_number_is_reported_at_its_field_and_input_is_kept(admin: Visitor, days: str) -> None:
    answer = admin.post(PATH, {**TYPED, "days_failed": days})
    assert answer.status_code == 422
    assert 'id="days_failed-error">Enter a number of days' in answer.text
    assert f'value="{days[:5] if False else days}"' in answer.text
    assert 'value="7"' in answer.text
    with reading():
        assert service.rules() == service.DEFAULTS
    assert audited() == []


def test_rules_are_json_for_programs(admin: Visitor) -> None:
    assert admin.post_json(PATH, {"days_succeeded": 7, "days_failed": None}).get_json()["days"]["succeeded"] == 7
    assert admin.get(PATH, accept="application/json").get_json()["days"]["failed"] is None
    refused = admin.post_json(PATH, {"days_failed": [1]})
    assert (refused.status_code, list(refused.get_json()["fields"])) == (422, ["days_failed"])


def test_cleaning_by_hand_is_a_run(admin: Visitor) -> None:
    answer = admin.post(f"{PATH}/clean")
    with reading():
        run = db.session.scalars(sa.select(Run).where(Run.task == "runs.retain")).one()
    assert (answer.status_code, answer.location) == (303, f"/runs/{run.id}")


def test_link_to_a_deleted_run_explains_it(admin: Visitor) -> None:
    (kept,) = make_runs(1)
    gone = "00000000-0000-8000-8000-000000000000"
    run_id = make_run(retry_of=gone, parent_id=kept)
    page = admin.get(f"/runs/{run_id}").text
    assert f"<code>{gone}</code> (deleted)" in page
    assert f'<a href="/runs/{kept}">' in page
    assert "deleted by retention" in admin.get(f"/runs/{gone}").text
