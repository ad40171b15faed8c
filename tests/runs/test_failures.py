"""Failures grouped by task, exception and place."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.states import RunState
from webapp.runs.list import failures
from webapp.runs.page import tracebacks

pytestmark = pytest.mark.each_database

TRACE = """Traceback (most recent call last):
  File "/app/orders.py", line 12, in ship
    send()
  File "/venv/lib/python3.11/site-packages/mail.py", line 99, in send
    raise ValueError
"""


def test_the_same_mistake_is_one_line(context: Flask) -> None:
    for age in (10, 20, 3000):
        make_run(RunState.FAILED, age=age, error=f"ValueError: order {age}", traceback=TRACE)
    make_run(RunState.FAILED, age=30, error="KeyError: 'x'", traceback=TRACE)
    make_run(RunState.FAILED, age=40, error="ValueError: a", traceback=TRACE, task="other")
    make_run(RunState.FAILED, age=9_000, error="ValueError: long ago", traceback=TRACE)
    make_run(RunState.SUCCEEDED)
    found = failures.grouped(timedelta(hours=1), now())
    first = found.groups[0]
    assert [(group.task, group.exception, group.count) for group in found.groups[:1]] == [("add", "ValueError", 3)]
    assert len(found.groups) == 3
    assert first.place == "orders.py:12 in ship"
    assert (first.bars[-1], sum(first.bars)) == (2, 3)
    assert first.first is not None
    assert first.last is not None
    assert (first.last - first.first).total_seconds() == pytest.approx(2990, abs=5)
    assert not found.more


def test_place_is_ours_where_there_is_one() -> None:
    assert tracebacks.place("") == ""
    assert tracebacks.place('File "/lib/python3.11/json.py", line 1, in loads') == "json.py:1 in loads"


def test_page_shows_them_as_text_and_leads_to_a_retry(context: Flask) -> None:
    operator = Visitor(context, "operator")
    assert "No failures" in operator.get("/runs/failures").text
    run_id = make_run(RunState.FAILED, error="ValueError: <b>no</b>", traceback=TRACE, args="[1, 2]")
    text = operator.get("/runs/failures?span=1h").text
    assert "&lt;b&gt;no" in text
    assert f"/runs/{run_id}" in text
    found = operator.get("/runs?state=failed&q=since:1h%20task%3A%22add%22%20%22ValueError%22").text
    assert f'id="run-{run_id}"' in found
    assert "/runs/retry-all?state=failed&amp;q=since:1h%20task%3A%22add%22%20%22ValueError%22" in text
    assert Visitor(context, "viewer").get("/runs/failures?span=nonsense").status_code == 200
