"""Failures grouped by task, exception and place, and what makes them good."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run
from webapp.database.engine import now
from webapp.failures import groups
from webapp.failures.groups import Kind
from webapp.run_store.states import RunState
from webapp.runs.page import tracebacks

pytestmark = pytest.mark.each_database

TRACE = """Traceback (most recent call last):
  File "/app/orders.py", line 12, in ship
    send()
  File "/venv/lib/python3.11/site-packages/mail.py", line 99, in send
    raise ValueError
"""


def test_the_same_mistake_is_one_group(context: Flask) -> None:
    for age in (10, 20, 3000):
        make_run(RunState.FAILED, age=age, error=f"ValueError: order {age}", traceback=TRACE)
    make_run(RunState.FAILED, age=30, error="KeyError: 'x'", traceback=TRACE)
    make_run(RunState.FAILED, age=40, error="ValueError: a", traceback=TRACE, task="other")
    make_run(RunState.FAILED, age=9_000, error="ValueError: long ago", traceback=TRACE)
    make_run(RunState.SUCCEEDED)
    found = groups.grouped(timedelta(hours=1), now())
    first = found.groups[0]
    assert first.kind == Kind("add", "ValueError", "orders.py:12 in ship")
    assert len(first.runs) == 3
    assert len(found.groups) == 3
    assert (first.bars[-1], sum(first.bars)) == (2, 3)
    assert (first.last - first.first).total_seconds() == pytest.approx(2990, abs=5)
    assert not found.more


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        ("", "unknown"),
        (": no", "unknown"),
        ('"": no', "unknown"),
        ("Several\n lines: no", "Several lines"),
        ("x" * 79 + " y", "x" * 79),
    ],
)
def test_an_exception_can_be_sent_by_a_form(context: Flask, error: str, exception: str) -> None:
    make_run(RunState.FAILED, error=error)
    (group,) = groups.grouped(timedelta(hours=1), now()).groups
    assert group.kind.exception == exception


def test_place_is_ours_where_there_is_one() -> None:
    assert tracebacks.place("") == ""
    assert tracebacks.place('File "/lib/python3.11/json.py", line 1, in loads') == "json.py:1 in loads"


def test_a_good_retry_makes_all_that_it_retries_good(context: Flask) -> None:
    first = make_run(RunState.FAILED, age=50, error="E")
    second = make_run(RunState.FAILED, age=40, error="E", retry_of=first)
    other = make_run(RunState.FAILED, age=45, error="E")
    make_run(RunState.SUCCEEDED, age=30, retry_of=second)
    make_run(RunState.STARTED, age=30, retry_of=other)
    (group,) = groups.grouped(timedelta(hours=1), now()).groups
    assert {run.run_id for run in group.runs if run.good_at} == {first, second}


def test_the_next_good_run_of_its_schedule_makes_a_failure_good(context: Flask) -> None:
    before = make_run(RunState.FAILED, age=50, error="E", schedule_id=7)
    make_run(RunState.SUCCEEDED, age=40, schedule_id=7)
    after = make_run(RunState.FAILED, age=30, error="E", schedule_id=7)
    make_run(RunState.SUCCEEDED, age=20, schedule_id=8)
    (group,) = groups.grouped(timedelta(hours=1), now()).groups
    assert {run.run_id: run.good_at is not None for run in group.runs} == {before: True, after: False}
