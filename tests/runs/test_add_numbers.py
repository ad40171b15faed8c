"""`/add-numbers/`: what is launched, what is refused, and how its result is returned."""

from __future__ import annotations

import json
import uuid

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.support import fresh
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

JSON = "application/json"


def the_run() -> Run:
    return fresh(Run, db.session.scalars(sa.select(Run.id)).one())


def ended(run_id: str, state: RunState, **values: str) -> None:
    db.session.execute(sa.update(Run).where(Run.id == run_id).values(state=state, ended_at=now(), **values))
    db.session.commit()


def test_form_has_both_fields(operator: Visitor) -> None:
    answer = operator.get("/add-numbers/")
    assert answer.status_code == 200
    assert 'name="num1"' in answer.text
    assert 'name="num2"' in answer.text


@pytest.mark.parametrize(
    ("num1", "num2", "stored"),
    [("2", "3", "[2, 3]"), ("2.5", "-3", "[2.5, -3]"), (" +7 ", "1e3", "[7, 1000.0]"), ("0", ".5", "[0, 0.5]")],
)
def test_it_launches_add_with_numbers_as_they_are(operator: Visitor, num1: str, num2: str, stored: str) -> None:
    answer = operator.post("/add-numbers/", {"num1": num1, "num2": num2})
    run = the_run()
    assert (answer.status_code, answer.location) == (303, f"/task-result/{run.id}/")
    assert (run.task, run.args, run.kwargs, run.origin) == ("add", stored, "{}", "launch")
    assert run.created_by is not None


def test_browser_is_led_to_a_page_that_polls(operator: Visitor) -> None:
    location = operator.post("/add-numbers/", {"num1": "2", "num2": "3"}).location
    page = operator.get(location)
    assert page.status_code == 200
    assert f'hx-get="{location}" hx-trigger="every 1s"' in page.text
    assert "queued" in page.text


def test_htmx_gets_the_part_that_polls(operator: Visitor) -> None:
    answer = operator.post("/add-numbers/", {"num1": "2", "num2": "3"}, htmx=True)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert f'hx-get="/task-result/{the_run().id}/" hx-trigger="every 1s"' in answer.text


def test_poll_answers_304_until_something_changed(operator: Visitor) -> None:
    operator.post("/add-numbers/", {"num1": "2", "num2": "3"})
    run_id = the_run().id
    first = operator.get(f"/task-result/{run_id}/", htmx=True)
    again = operator.get(f"/task-result/{run_id}/", htmx=True, headers={"HX-PTag": first.headers["HX-PTag"]})
    assert (first.status_code, again.status_code, again.data) == (200, 304, b"")
    ended(run_id, RunState.SUCCEEDED, result="5")
    last = operator.get(f"/task-result/{run_id}/", htmx=True, headers={"HX-PTag": first.headers["HX-PTag"]})
    assert last.status_code == 200
    assert "hx-trigger" not in last.text
    assert "hx-get" not in last.text
    assert ">5</p>" in last.text


@pytest.mark.parametrize(
    ("num1", "said"),
    [
        ("", "Enter a number."), ("two", "Enter a number"), ("nan", "Enter a number"), ("inf", "Enter a number"),
        ("1e999", "too large"), ("1_000", "Enter a number"), ("9" * 200, "at most 100 digits"), ("٣", "Enter a number"),
        ("<b>", "Enter a number"),
    ],
)  # fmt: skip
def test_it_refuses_what_is_no_number_and_keeps_what_was_typed(operator: Visitor, num1: str, said: str) -> None:
    for htmx in (False, True):
        answer = operator.post("/add-numbers/", {"num1": num1, "num2": "3"}, htmx=htmx)
        assert answer.status_code == 422
        assert said in answer.text
        assert 'id="num1-error"' in answer.text
        assert 'id="num2-error"' not in answer.text
        assert 'value="3"' in answer.text
        assert "<b>" not in answer.text
        assert ("<html" in answer.text) is not htmx
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Run)) == 0


def test_json_answers_the_id(operator: Visitor) -> None:
    answer = operator.post_json("/add-numbers/", {"num1": 2, "num2": 3.5})
    assert (answer.status_code, answer.json) == (202, {"task_id": the_run().id})
    assert the_run().args == "[2, 3.5]"


def test_form_with_accept_json_answers_json(operator: Visitor) -> None:
    answer = operator.post("/add-numbers/", {"num1": "2", "num2": "3"}, accept=JSON)
    assert (answer.status_code, answer.json) == (202, {"task_id": the_run().id})


@pytest.mark.parametrize(
    "sent", [{}, {"num1": True, "num2": 1}, {"num1": None, "num2": 1}, {"num1": [1], "num2": 1}, [1, 2], "2", 10**400]
)
def test_json_refuses_with_the_fields(operator: Visitor, sent: object) -> None:
    answer = operator.post_json("/add-numbers/", sent)
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["fields"]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_json_refuses_numbers_that_json_cannot_say(operator: Visitor, number: str) -> None:
    sent = f'{{"num1": {number}, "num2": 1}}'
    assert operator.open("POST", "/add-numbers/", accept=JSON, data=sent, content_type=JSON).status_code == 400


@pytest.mark.parametrize(
    ("state", "values", "expected"),
    [
        (RunState.QUEUED, {}, {"status": "pending"}),
        (RunState.HELD, {}, {"status": "pending"}),
        (RunState.STARTED, {}, {"status": "started"}),
        (RunState.RETRYING, {}, {"status": "retrying"}),
        (RunState.SUCCEEDED, {"result": "5"}, {"status": "succeeded", "result": 5}),
        (RunState.SUCCEEDED, {"result": "5.0"}, {"status": "succeeded", "result": 5.0}),
        (RunState.SUCCEEDED, {"result": "Infinity"}, {"status": "succeeded", "result": "Infinity"}),
        (RunState.FAILED, {"error": "ValueError: no"}, {"status": "failed", "error": "ValueError: no"}),
        (RunState.REVOKED, {"reason": "Cancelled"}, {"status": "revoked", "error": "Cancelled"}),
    ],
)
@pytest.mark.parametrize("accept", [JSON, "*/*"])
def test_json_has_status_and_outcome(
    operator: Visitor, state: RunState, values: dict[str, str], expected: dict[str, object], accept: str
) -> None:
    run_id = operator.post_json("/add-numbers/", {"num1": 2, "num2": 3}).get_json()["task_id"]
    db.session.execute(sa.update(Run).where(Run.id == run_id).values(state=state, **values))
    db.session.commit()
    answer = operator.get(f"/task-result/{run_id}/", accept=accept)
    assert answer.status_code == 200
    assert json.loads(answer.text) == {"task_id": run_id, **expected}


def test_unknown_id_is_unknown_and_not_pending(operator: Visitor) -> None:
    stranger = str(uuid.uuid4())
    answer = operator.get(f"/task-result/{stranger}/", accept=JSON)
    assert (answer.status_code, answer.json) == (404, {"task_id": stranger, "status": "unknown"})
    for htmx in (False, True):
        page = operator.get(f"/task-result/{stranger}/", htmx=htmx)
        assert page.status_code == 404
        assert "Unknown" in page.text
        # Nothing asks again but what every page says of Beatdesk itself.
        assert page.text.count("hx-trigger") == page.text.count('hx-get="/health"')


def test_result_is_shown_to_viewers_and_to_who_launched_it_only(context: Flask, operator: Visitor) -> None:
    run_id = operator.post_json("/add-numbers/", {"num1": 2, "num2": 3}).get_json()["task_id"]
    path = f"/task-result/{run_id}/"
    assert Visitor(context, "viewer").get(path, accept=JSON).status_code == 200
    assert Visitor(context, "member").get(path, accept=JSON).status_code == 404
    assert Visitor(context).get(path, accept=JSON).status_code == 401


def test_viewer_may_not_launch(context: Flask) -> None:
    assert Visitor(context, "viewer").post("/add-numbers/", {"num1": "2", "num2": "3"}).status_code == 403


def test_it_needs_the_token_of_the_form(operator: Visitor) -> None:
    operator.token = "wrong"
    assert operator.post("/add-numbers/", {"num1": "2", "num2": "3"}).status_code == 400
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Run)) == 0
