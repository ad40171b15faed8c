"""Runs as CSV and JSON: all that match, streamed, harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from flask import Flask

from beatdesk.execution.events import TEXT_LIMIT, limited
from tests.runs.making import make_run, make_runs
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.states import RunState
from webapp.runs.list.export import FIELDS, harmless

pytestmark = pytest.mark.each_database


def strict(text: str) -> Any:
    """The value of JSON text in which nothing is Python's own."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def exported(viewer: Visitor) -> tuple[dict[str, Any], dict[str, str]]:
    """The only run, from each format."""
    (run,) = strict(viewer.get("/runs.json").text)
    (row,) = csv.DictReader(io.StringIO(viewer.get("/runs.csv").text, newline=""))
    assert tuple(run) == tuple(row) == FIELDS
    return run, row


def test_everything_that_matches_is_in_it(viewer: Visitor) -> None:
    made = make_runs(1_203)
    make_run(RunState.FAILED)
    rows = list(csv.DictReader(io.StringIO(viewer.get("/runs.csv?state=succeeded").text)))
    assert [row["id"] for row in rows] == made
    rows = json.loads(viewer.get("/runs.json?q=state:succeeded").text)
    assert [row["id"] for row in rows] == made


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


def test_the_menu_leads_to_what_the_search_finds(viewer: Visitor) -> None:
    assert "/runs.csv" not in viewer.get("/runs").text
    make_run(RunState.FAILED)
    assert 'href="/runs.csv?q=worker%3Aw&amp;state=failed"' in viewer.get("/runs?state=failed&q=worker:w").text
    assert "/runs.csv" not in viewer.get("/runs?q=colour:red").text


def test_search_that_is_not_understood_is_refused_before_anything_is_sent(viewer: Visitor) -> None:
    assert viewer.get("/runs.csv?q=colour:red").status_code == 422


def test_members_get_none_of_it(context: Flask) -> None:
    assert Visitor(context, "member").get("/runs.csv").status_code == 403


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ('{"user": [5, "ä"]}', {"user": [5, "ä"]}),
        ('"=1+1"', "=1+1"),
        ("-5.5", -5.5),
        ("null", None),
        ('[NaN, -Infinity, {"most": 1e400}]', ["NaN", "-Infinity", {"most": "Infinity"}]),
        ('["caf\\udce9", "\\u0000", "\\ud83d\\ude00"]', ["caf\\udce9", "\x00", "😀"]),
        ('{"password": "hush", "n": 1}', {"password": "•••", "n": 1}),
        ("=no JSON", "=no JSON"),
        ("[" * 9999 + "]" * 9999, "[" * 9999 + "]" * 9999),
    ],
    ids=["values", "text", "negative", "null", "no numbers", "odd text", "secret", "not JSON", "deep"],
)
def test_values_are_values_and_strict_json(viewer: Visitor, stored: str, value: Any) -> None:
    make_run(RunState.SUCCEEDED, args=f"[{stored}]" if value != stored else "[]", kwargs="{}", result=stored)
    run, row = exported(viewer)
    assert run["result"] == value
    assert run["args"] == ([] if value == stored else [value])
    assert strict(row["args"]) == run["args"]
    assert row["kwargs"] == "{}"
    # Nothing in it is a formula: with one of these a JSON text begins only where it is a number.
    assert strict(row["result"] or "null") == value
    assert not row["result"].startswith(("=", "+", "@", "\t", "\r"))


def test_errors_and_tracebacks_are_whole(viewer: Visitor) -> None:
    traceback = 'Traceback (most recent call last):\n  File "shop.py", line 3\nValueError: ä, "b"'
    made: dict[str, Any] = {
        "error": "ValueError: ä",
        "traceback": traceback,
        "reason": "Retried",
        "args": "[1]",
        "result": None,
    }
    make_run(RunState.FAILED, **made)
    run, row = exported(viewer)
    assert {name: run[name] for name in made} == {**made, "args": [1]}
    assert {name: row[name] for name in made} == {**made, "result": ""}


@pytest.fixture
def large_fields() -> Iterator[None]:
    """Python's own reader of CSV refuses longer fields by default."""
    before = csv.field_size_limit(2 * TEXT_LIMIT)
    yield
    csv.field_size_limit(before)


@pytest.mark.usefixtures("large_fields")
def test_results_are_bounded_as_they_were_stored(viewer: Visitor) -> None:
    make_run(RunState.SUCCEEDED, result=limited(json.dumps("x" * TEXT_LIMIT)))
    run, row = exported(viewer)
    assert len(run["result"]) == TEXT_LIMIT
    assert run["result"].endswith(f"… cut here; {TEXT_LIMIT + 2:,} characters in all")
    assert strict(row["result"]) == run["result"]


@pytest.mark.parametrize("path", ["/runs.csv", "/runs.json", "/runs.json?q=worker:w"])
def test_it_takes_no_more_memory_for_more_runs(viewer: Visitor, path: str) -> None:
    large = json.dumps("x" * 100_000)
    make_runs(150, args="[1]", kwargs=f'{{"a": {large}}}', result=large, worker="w", error=large[:1000])
    viewer.get(f"{path.partition('?')[0]}?state=failed")
    tracemalloc.start()
    try:
        answer = viewer.client.get(path, buffered=False)
        length = sum(map(len, answer.response))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert length > 150 * 200_000
    assert peak < length / 2
