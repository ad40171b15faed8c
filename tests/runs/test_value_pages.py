"""Arguments and result on the page of a run, in full, and as JSON."""

from __future__ import annotations

import json

import pytest

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.run_store.states import RunState

MARKUP = "<img src=x onerror=alert(1)>"


def test_values_are_text_and_secrets_are_masked(viewer: Visitor) -> None:
    args, kwargs = json.dumps([2, MARKUP]), json.dumps({MARKUP: {"token": "hush"}})
    run_id = make_run(args=args, kwargs=kwargs, result=json.dumps({"a": MARKUP, "password": "hush"}))
    for path in (f"/runs/{run_id}", *(f"/runs/{run_id}/values/{part}" for part in ("args", "kwargs", "result"))):
        text = viewer.get(path).text
        assert MARKUP not in text
        assert "&lt;img src=x" in text
        assert "hush" not in text
    # Of a registered task the arguments have their names.
    assert '<span class="tree-name">num1</span>' in viewer.get(f"/runs/{run_id}").text


def test_long_values_are_shown_in_full_when_asked_for(viewer: Visitor) -> None:
    run_id = make_run(result=json.dumps(["x" * 3_000, *range(500)]))
    path = f"/runs/{run_id}/values/result"
    page = viewer.get(f"/runs/{run_id}").text
    assert "x" * 3_000 not in page
    assert "3,000 characters" in page
    assert f'href="{path}"' in page
    part = viewer.get(path, htmx=True).text
    assert "<html" not in part
    assert 'id="value-result"' in part
    for text in (part, viewer.get(path).text):
        assert "x" * 3_000 in text
        assert ">499</span>" in text
        assert "Show all" not in text


def test_copy_has_the_whole_value_without_secrets(viewer: Visitor) -> None:
    run_id = make_run(kwargs='{"user": 5, "password": "hush"}', result=json.dumps(list(range(50_000))))
    answer = viewer.get(f"/runs/{run_id}/values/kwargs.json")
    assert answer.mimetype == "application/json"
    assert answer.get_json() == {"user": 5, "password": "•••"}
    assert len(viewer.get(f"/runs/{run_id}/values/result.json").get_json()) == 50_000


def test_what_is_not_there_is_not_found(viewer: Visitor) -> None:
    run_id = make_run(RunState.QUEUED)
    for path in (
        f"{run_id}/values/result",
        f"{run_id}/values/options",
        "unknown/values/args",
        f"{run_id}/values/x.json",
    ):
        assert viewer.get(f"/runs/{path}").status_code == 404
    assert "No arguments" in viewer.get(f"/runs/{run_id}").text


@pytest.mark.parametrize("value", ["[" * 1_000 + "]" * 1_000, json.dumps([{"n": n} for n in range(100_000)])])
def test_deep_and_huge_values_leave_the_page_small(viewer: Visitor, value: str) -> None:
    run_id = make_run(args=value, result=value)
    assert len(viewer.get(f"/runs/{run_id}").data) < 120_000
    assert len(viewer.get(f"/runs/{run_id}/values/result").data) < 2_000_000
