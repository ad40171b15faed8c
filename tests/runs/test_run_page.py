"""The page of one run."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.states import Origin, RunState


def test_it_shows_the_whole_run(viewer: Visitor) -> None:
    at = now()
    run_id = make_run(
        RunState.FAILED,
        created_at=at - timedelta(seconds=100),
        due_at=at - timedelta(seconds=101),
        sent_at=at - timedelta(seconds=99),
        received_at=at - timedelta(seconds=80),
        started_at=at - timedelta(seconds=70),
        ended_at=at - timedelta(seconds=58),
        schedule_id=9,
        schedule_name="nightly",
        schedule_version=4,
        origin=Origin.SCHEDULE,
        attempt=2,
        claims=4,
        worker="w1@host",
        error="ValueError: no",
        traceback='File "x.py"\n<script>alert(1)</script>',
        args="[2]",
        kwargs='{"password": "hush", "user": 5}',
    )
    text = viewer.get(f"/runs/{run_id}").text
    for part in (
        "Created", "Sent", "Received", "Started", "Failed", "waited 30 s", "ran 12 s", "31 s", "version 4",
        "(deleted)", "retried 2 times", "3; started by a worker 4 times", "w1@host", "ValueError: no",
        "&lt;script&gt;", "Fix the cause shown in the traceback", "user",
    ):  # fmt: skip
        assert part in text, part
    assert text.index("ValueError: no") < text.index("Timeline")
    assert "<script>alert" not in text
    assert "hush" not in text
    assert "from:#live" not in text
    assert 'id="live"' not in text


def test_it_does_not_invent_what_is_unknown_of_another_programs_run(viewer: Visitor) -> None:
    at = now()
    values: dict[str, Any] = {"started_at": at - timedelta(seconds=76), "ended_at": at, "origin": Origin.PROGRAM}
    text = viewer.get(f"/runs/{make_run(RunState.UNCONFIRMED, **values)}").text
    assert "<dt>Queue</dt><dd>unknown</dd>" in text
    assert "ran 1 min" not in text


def test_it_follows_the_run_while_it_goes_on(viewer: Visitor) -> None:
    run_id = make_run(RunState.STARTED, started_at=now())
    path = f"/runs/{run_id}"
    page = viewer.get(path).text
    assert f'hx-get="{path}" hx-trigger="news from:#live"' in page
    assert f'data-stream="/live{path}"' in page
    part = viewer.get(path, htmx=True)
    assert "<html" not in part.text
    assert viewer.get(path, htmx=True, headers={"HX-PTag": part.headers["HX-PTag"]}).status_code == 304


@pytest.mark.parametrize(
    ("state", "values", "said"),
    [
        (RunState.QUEUED, {}, "The broker has not accepted the message yet"),
        (RunState.QUEUED, {"sent_at": now()}, "waits for a free worker"),
        (RunState.HELD, {"eta": now() + timedelta(hours=1)}, "sends the run at that time"),
        (RunState.MISSED, {"reason": "beat was away"}, "The run could not be sent when it was due"),
        (RunState.EXPIRED, {}, "did not start in time"),
    ],
)
def test_it_explains_what_to_do_next(viewer: Visitor, state: RunState, values: dict[str, Any], said: str) -> None:
    text = viewer.get(f"/runs/{make_run(state, **values)}").text
    assert said in text
    assert str(values.get("reason", "")) in text


def test_retries_and_origin_link_to_each_other(viewer: Visitor) -> None:
    first = make_run(RunState.FAILED)
    second = make_run(RunState.QUEUED, retry_of=first, parent_id=first)
    assert f'href="/runs/{second}"' in viewer.get(f"/runs/{first}").text
    assert f'href="/runs/{first}"' in viewer.get(f"/runs/{second}").text


def test_unknown_id_is_unknown_and_not_pending(viewer: Visitor) -> None:
    path = f"/runs/{uuid.uuid4()}"
    for htmx in (False, True):
        answer = viewer.get(path, htmx=htmx)
        assert answer.status_code == 404
        assert "Run not found" in answer.text
        assert "queued" not in answer.text
    shown = viewer.get(path, accept="application/json")
    assert (shown.status_code, shown.get_json()["state"]) == (404, "unknown")


def test_json_has_every_column(viewer: Visitor) -> None:
    run_id = make_run(args="[2, 3]", result="5")
    shown = viewer.get(f"/runs/{run_id}", accept="application/json").get_json()
    assert (shown["id"], shown["state"], shown["args"], shown["result"]) == (run_id, "succeeded", [2, 3], 5)


def test_viewer_sees_no_buttons(context: Flask, viewer: Visitor) -> None:
    run_id = make_run(RunState.QUEUED)
    assert f"/runs/{run_id}/cancel" not in viewer.get(f"/runs/{run_id}").text
    assert f"/runs/{run_id}/cancel" in Visitor(context, "operator").get(f"/runs/{run_id}").text
