"""Runs as CSV and JSON: all that match, streamed, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest
from flask import Flask

from tests.runs.making import make_run, make_runs
from tests.visitors import Visitor
from webapp.database import now
from webapp.runs.export import harmless
from webapp.runs.states import RunState


@pytest.fixture
def database_url(each_database: str) -> str:
    return each_database


@pytest.fixture
def viewer(context: Flask) -> Visitor:
    return Visitor(context, "viewer")


def test_everything_that_matches_is_in_it(viewer: Visitor) -> None:
    made = make_runs(1_203)
    make_run(RunState.FAILED)
    rows = list(csv.DictReader(io.StringIO(viewer.get("/runs.csv?state=succeeded").text)))
    assert [row["id"] for row in rows] == made
    told = json.loads(viewer.get("/runs.json?q=state:succeeded").text)
    assert [row["id"] for row in told] == made


def test_formulas_and_secrets_do_not_get_out(viewer: Visitor) -> None:
    make_run(
        RunState.FAILED,
        error="=cmd|' /C calc'!A0",
        reason="@SUM(1)",
        kwargs='{"password": "hush"}',
        task="-2+3",
        started_at=now(),
        ended_at=now(),
    )
    answer = viewer.get("/runs.csv")
    row = next(csv.DictReader(io.StringIO(answer.text)))
    assert (row["error"], row["reason"], row["task"]) == ("'=cmd|' /C calc'!A0", "'@SUM(1)", "'-2+3")
    assert "hush" not in answer.text
    assert "hush" not in viewer.get("/runs.json").text
    assert answer.headers["Content-Disposition"] == 'attachment; filename="runs.csv"'
    assert float(row["seconds"]) >= 0


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@a", "\ta", "\ra"])
def test_each_beginning_of_a_formula_is_neutralised(text: str) -> None:
    assert harmless(text) == f"'{text}"
    assert harmless(-1) == -1


def test_nothing_is_an_empty_list(viewer: Visitor) -> None:
    assert json.loads(viewer.get("/runs.json").text) == []
    assert viewer.get("/runs.csv").text.splitlines()[0].startswith("id,task,state")


def test_search_that_is_not_understood_is_refused_before_anything_is_sent(viewer: Visitor) -> None:
    assert viewer.get("/runs.csv?q=colour:red").status_code == 422


def test_members_get_none_of_it(context: Flask) -> None:
    assert Visitor(context, "member").get("/runs.csv").status_code == 403
