"""The status of a schedule is the same in Python and in SQL, whatever its columns contain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schedule_store.test_page_and_beat import BEGIN, COLUMNS, Made, _rows, _written
from webapp.extensions import db
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.rows import DETAILS, PROGRESS, SCHEDULES, TASKS
from webapp.schedule_store.status import DUE, Status, comes_due, has_status, status_of
from webapp.schedule_store.stored import Stored, find_many
from webapp.scheduler import progress
from webapp.scheduler.progress import Note
from webapp.schedules.holds import hold_at

pytestmark = pytest.mark.each_database

HOUR = timedelta(hours=1)
PAUSES = [
    Pause(1, frozenset(), "", "", BEGIN - HOUR, BEGIN),
    Pause(2, frozenset({"night"}), "", "", BEGIN - HOUR, None),
    Pause(3, frozenset(), "", "", BEGIN, BEGIN + HOUR),
    Pause(4, frozenset({"shop", "bar"}), "", "", BEGIN - HOUR, BEGIN + HOUR),
    Pause(5, frozenset(), "", "", BEGIN + HOUR, None),
    Pause(6, frozenset(), "", "", BEGIN - HOUR, None, schedule_id=1),
]


def _in_sql(numbers: Sequence[int], pauses: Sequence[Pause]) -> dict[int, list[Status]]:
    """Every status that SQL finds for each."""
    query = sa.select(TASKS.c.id).select_from(SCHEDULES).where(TASKS.c.id.in_(numbers))
    found: dict[int, list[Status]] = {number: [] for number in numbers}
    for status in Status:
        for number in db.session.scalars(query.where(*has_status(status, BEGIN, pauses))):
            found[number].append(status)
    return found


def _in_python(found: Stored, pauses: Sequence[Pause]) -> Status:
    return status_of(found, held=hold_at(found, BEGIN, pauses) is not None)


_DECIDING = {
    TASKS: ("enabled", "one_off", "total_run_count", "expires"),
    DETAILS: ("max_runs", "ends_at", "paused_at", "paused_until", "failing_since", "tags"),
    PROGRESS: ("last_due_at", "runs", "revision"),
}


@st.composite
def _standing(draw: st.DrawFn) -> Made:
    """A row of each table, in which every column that decides about the status varies."""
    made = draw(_rows())
    for table, names in _DECIDING.items():
        made[table.name] |= {
            name: draw(values) for name in names if (values := COLUMNS[table][name]) is not None and draw(st.booleans())
        }
    if draw(st.integers(0, 9)) == 0:
        made[PROGRESS.name]["broken"] = "No such task"
    return made


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(_standing(), min_size=10, max_size=10), pauses=st.lists(st.sampled_from(PAUSES), max_size=2))
def test_sql_and_python_agree(app: Flask, rows: list[Made], pauses: list[Pause]) -> None:
    """Where only reading the row shows that it is broken, SQL agrees once beat has noted it."""
    with _written(app, rows) as numbers:
        unread = [one for one in find_many(db.session, numbers) if one.problem and not one.row.broken]
        before = _in_sql(numbers, pauses)
        for one in unread:
            expected = _in_python(one, pauses)
            assert (before[one.id] == [expected]) != (expected is Status.BROKEN)
            assert len(before[one.id]) == 1
        # As beat does, which reads those that are enabled.
        noted = [Note(one.id, None, one.problem, one.row.revision) for one in unread if one.row.enabled]
        progress.note(db.session.connection(), noted)
        after = _in_sql(numbers, pauses)
        for one in find_many(db.session, numbers):
            assert after[one.id] == [_in_python(one, pauses)]
            assert comes_due(one) == (after[one.id][0] in DUE)


def test_every_status_is_met(app: Flask) -> None:
    """One schedule of each, so that none of them is a word without a schedule."""
    rule = {"celery_intervalschedule": {"every": 10, "period": "minutes"}}
    task = {"task": "add", "args": "[1, 2]", "kwargs": "{}", "discriminator": "intervalschedule"}
    spent = {"last_due_at": BEGIN - HOUR, "revision": None, "runs": 3}
    made: dict[Status, tuple[dict[str, Any], ...]] = {
        Status.ENABLED: ({}, {}, {}),
        Status.DISABLED: ({"enabled": False}, {"max_runs": 4}, spent),
        Status.PAUSED: ({}, {"paused_at": BEGIN, "failing_since": BEGIN}, {}),
        Status.ON_TRIAL: ({}, {"failing_since": BEGIN, "paused_at": BEGIN - HOUR, "paused_until": BEGIN}, {}),
        Status.DONE: ({"enabled": False}, {"max_runs": 3, "paused_at": BEGIN}, spent),
        Status.BROKEN: ({}, {"paused_at": BEGIN}, {"broken": "No such task"}),
    }
    tables = ("celery_periodictask", "schedule_details", "schedule_progress")
    rows = [rule | dict(zip(tables, (task | own, *rest), strict=True)) for own, *rest in made.values()]
    with _written(app, rows) as numbers:
        schedules = find_many(db.session, numbers)
        assert [_in_python(one, []) for one in schedules] == list(made)
        assert _in_sql(numbers, []) == {one.id: [status] for one, status in zip(schedules, made, strict=True)}
        assert set(made) == set(Status)
