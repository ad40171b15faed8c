"""The calendar groups schedules by every column that beat reads, but for those named as indifferent to due times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.schedule_store.test_page_and_beat import BEGIN, GOOD
from tests.schedule_store.test_revision import _other
from webapp.extensions import db
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.rows import COLUMNS, DETAILS, DISCRIMINATORS, PROGRESS, RULE_TABLES, TASKS, rows_by_id
from webapp.schedules.calendar.grouping import INDIFFERENT, alike

pytestmark = pytest.mark.each_database


def _rule(connection: sa.Connection, kind: Kind, values: dict[str, Any]) -> int:
    table = RULE_TABLES[kind]
    number: int = connection.execute(sa.insert(table).values(values).returning(table.c.id)).scalar_one()
    return number


def _schedule(connection: sa.Connection, name: str, kind: Kind, rule_id: int, one_off: bool) -> int:
    """A limited schedule that beat knows, so that it matters how many runs it has made."""
    task = {"name": name, "task": "add", "args": "[1, 2]", "kwargs": "{}", "one_off": one_off}
    rule = {"discriminator": DISCRIMINATORS[kind], "schedule_id": rule_id}
    number: int = connection.execute(sa.insert(TASKS).values(task | rule).returning(TASKS.c.id)).scalar_one()
    connection.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == number).values(max_runs=5))
    connection.execute(
        sa.insert(PROGRESS).values(schedule_id=number, runs=2, revision=1, last_due_at=BEGIN, next_due_at=BEGIN)
    )
    return number


def _changes(connection: sa.Connection, kind: Kind, number: int, rule_id: int) -> Iterator[sa.Column[Any]]:
    """Each column of a schedule and of its rule, changed until the next one is."""
    rule = RULE_TABLES[kind]
    keys = {TASKS: TASKS.c.id == number, DETAILS: DETAILS.c.schedule_id == number}
    keys |= {PROGRESS: PROGRESS.c.schedule_id == number, rule: rule.c.id == rule_id}
    for table, key in keys.items():
        given = dict(connection.execute(sa.select(table).where(key)).mappings().one())
        for column in table.columns:
            if column.primary_key:
                continue
            # Of a priority only one that beat refuses makes a difference.
            value = 10 if column.name == "priority" else _other(column, given[column.name])
            nested = connection.begin_nested()
            if table is rule:
                changed = {name: value for name, value in given.items() if name != "id"} | {column.name: value}
                other = _rule(connection, kind, changed)
                connection.execute(sa.update(TASKS).where(keys[TASKS]).values(schedule_id=other))
            else:
                connection.execute(sa.update(table).where(key).values({column: value}))
            yield column
            nested.rollback()


def _in_one_group(connection: sa.Connection, numbers: list[int]) -> bool:
    groups = alike(connection, {"add"})
    assert groups is not None
    return any(set(numbers) <= set(ids) for _row, ids in groups)


def test_schedules_are_grouped_unless_a_column_that_matters_differs(context: Flask) -> None:
    connection, seen = db.session.connection(), set()
    for kind in Kind:
        rule_id = _rule(connection, kind, GOOD[kind])
        for one_off in (False, True):
            numbers = [_schedule(connection, f"{kind} {one_off} {n}", kind, rule_id, one_off) for n in range(2)]
            for column in _changes(connection, kind, numbers[1], rule_id):
                first, second = rows_by_id(connection, numbers)
                differing = {name for name in COLUMNS if getattr(first, name) != getattr(second, name)}
                assert _in_one_group(connection, numbers) == (differing <= INDIFFERENT), (column, differing)
                seen |= differing
    assert seen == set(COLUMNS)
    db.session.rollback()
