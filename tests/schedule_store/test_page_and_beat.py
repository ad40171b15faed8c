"""Pages and beat read a row alike, whichever program wrote it and whatever its columns contain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.definition import Kind, iso, rule_values
from webapp.schedule_store.entries import Entry
from webapp.schedule_store.reader import BrokenRow, EntryReader
from webapp.schedule_store.rows import DETAILS, DISCRIMINATORS, PROGRESS, RULE_TABLES, TASKS, Row, rows_by_id
from webapp.schedule_store.stored import Stored, find_many
from webapp.schedules.calendar import grouping
from webapp.schedules.calendar.due_index import DueIndex
from webapp.schedules.holds import hold_at, next_firing
from webapp.task_catalogue.registry import find_task, rule_for

pytestmark = pytest.mark.each_database

BEGIN = now().replace(microsecond=0)


def _some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


MOMENTS = st.none() | st.integers(-(10**8), 10**8).map(lambda seconds: BEGIN + timedelta(seconds=seconds))
# In the tables that are read, what each column may hold: what people write, what other programs write, and what is
# wrong. None stands for a column that a row cannot do without, or whose value is not for it to choose.
COLUMNS: dict[sa.Table, dict[str, st.SearchStrategy[Any] | None]] = {
    TASKS: {
        "id": None,
        "name": None,
        "task": _some("add", "celery.backend_cleanup", "celery.map", "os.system", ""),
        "args": _some("[1, 2]", "[]", "", "null", " [1, 2] ", "{}", "[1", "3", "[NaN]"),
        "kwargs": _some("{}", "", "null", '{"num1": 1}', "[]", "nothing", '"x"'),
        "queue": _some(None, "", "slow", "unacked", "with a blank"),
        "exchange": _some(None, "", "events", "celeryev", "amq.direct"),
        "routing_key": _some(None, "", "slow.ones", "chord-unlock-1"),
        "headers": _some(None, "", "{}", "null", '{"tenant": 7}', "[]", "{"),
        "priority": _some(None, 0, 9, 10, 255),
        "expires": MOMENTS,
        "expire_seconds": _some(None, 1, 60),
        "one_off": st.booleans(),
        "start_time": MOMENTS,
        "enabled": st.booleans(),
        "last_run_at": MOMENTS,
        "total_run_count": _some(0, 1, 7),
        "date_changed": MOMENTS,
        "description": _some(None, "", "for the shop"),
        "discriminator": _some(*DISCRIMINATORS.values(), "", "moonschedule"),
        "schedule_id": _some(0, -1),
    },
    DETAILS: {
        "schedule_id": None,
        "version": _some(1, 7),
        "revision": None,
        "changed_at": None,
        "timezone": _some("UTC", "Asia/Kathmandu", "", "Mars/Base"),
        "anchor": MOMENTS,
        "ends_at": MOMENTS,
        "max_runs": _some(None, 0, 1, 3, -1),
        "jitter": _some(0.0, 30.0, -1.0, 10.0**9),
        "misfire": _some("skip", "run once", "run all", "", "perhaps"),
        "misfire_window": _some(0, 60, -5),
        "overlap": _some("allow", "skip", "queue one", "cancel other", "", "perhaps"),
        "owner": _some("code", "admin"),
        "code_definition": _some(None, "{}", "nothing"),
        "tags": _some("[]", '["night", "shop"]', "", "null", '["night", 3]', "night"),
        "paused_at": MOMENTS,
        "paused_until": MOMENTS,
        "pause_reason": _some(None, "", "because"),
        "failure_budget": _some(None, 3),
        "paused_by": _some(None, "Ann"),
        "failing_since": MOMENTS,
        "failures_from": MOMENTS,
    },
    PROGRESS: {
        "schedule_id": None,
        "last_due_at": st.none() | st.integers(1, 10**8).map(lambda seconds: BEGIN - timedelta(seconds=seconds)),
        "next_due_at": MOMENTS,
        "runs": _some(0, 1, 3),
        # Beat's own word, which pages repeat.
        "broken": None,
        "broken_since": MOMENTS,
        # Of a revision that the row has no longer.
        "revision": _some(None, 0),
    },
    RULE_TABLES[Kind.INTERVAL]: {
        "id": None,
        "every": _some(1, 10, 0, -3, 10**9),
        "period": _some("seconds", "days", "microseconds", "weeks"),
    },
    RULE_TABLES[Kind.CRONTAB]: {
        "id": None,
        "minute": _some("*/5", "0, 30", "61", "", "mon"),
        "hour": _some("22-4", "*", "x"),
        "day_of_week": _some("mon-fri", "weds", "tuesdays", "mon#1", "7", "1,"),
        "day_of_month": _some("31", "1-7", "0"),
        "month_of_year": _some("feb", "*/3", "13"),
        "timezone": _some("Europe/Berlin", "", "Mars/Base"),
    },
    RULE_TABLES[Kind.SOLAR]: {
        "id": None,
        "event": _some("sunset", "dawn_civil", "moonrise"),
        "latitude": _some(Decimal("52.5"), Decimal("90"), Decimal("91")),
        "longitude": _some(Decimal("13.4"), Decimal("-181")),
    },
    RULE_TABLES[Kind.CLOCKED]: {"id": None, "clocked_time": MOMENTS},
}
GOOD: dict[Kind, dict[str, Any]] = {
    Kind.INTERVAL: {"every": 10, "period": "minutes"},
    Kind.CRONTAB: {"minute": "30", "hour": "2", "timezone": "Europe/Berlin"},
    Kind.SOLAR: {"event": "sunset", "latitude": Decimal("27.7"), "longitude": Decimal("85.3")},
    Kind.CLOCKED: {"clocked_time": BEGIN + timedelta(days=300)},
}


def test_every_column_has_its_values() -> None:
    """One that is new is given some here, so that it is compared too."""
    assert {table.name: set(values) for table, values in COLUMNS.items()} == {
        table.name: {column.name for column in table.columns} for table in COLUMNS
    }
    assert set(RULE_TABLES.values()) < set(COLUMNS)


Made = dict[str, dict[str, Any]]
TABLES = {table.name: table for table in COLUMNS}


@st.composite
def _rows(draw: st.DrawFn) -> Made:
    """A row of each table: a schedule that can fire, with some columns changed."""
    kind = draw(st.sampled_from(Kind))
    made: Made = {
        RULE_TABLES[kind].name: dict(GOOD[kind]),
        TASKS.name: {"task": "add", "args": "[1, 2]", "kwargs": "{}", "discriminator": DISCRIMINATORS[kind]},
        DETAILS.name: {},
        PROGRESS.name: {},
    }
    free = {(one, name): values for one in made for name, values in COLUMNS[TABLES[one]].items() if values is not None}
    for one, name in draw(st.lists(st.sampled_from(list(free)), max_size=4)):
        made[one][name] = draw(free[one, name])
    return made


_WORDS = {"period", "event"}


def _insert(connection: sa.Connection, made: Made, name: str) -> int:
    """Its number. Raises the database's error where that refuses a value."""
    name_of_rule, given = next(iter(made.items()))
    rule = TABLES[name_of_rule]
    # As text: the library's own types would refuse an unknown word here, where a database of another program has it.
    words = {one: sa.cast(sa.literal(given[one], sa.String), rule.c[one].type) for one in _WORDS & given.keys()}
    rule_id = connection.execute(sa.insert(rule).values(given | words).returning(rule.c.id)).scalar_one()
    row = {"name": name, "schedule_id": rule_id} | made[TASKS.name]
    number: int = connection.execute(sa.insert(TASKS).values(row).returning(TASKS.c.id)).scalar_one()
    of_it = DETAILS.c.schedule_id == number
    if details := made[DETAILS.name]:
        connection.execute(sa.update(DETAILS).where(of_it).values(details))
    connection.execute(sa.update(DETAILS).where(of_it).values(changed_at=BEGIN))
    if progress := made[PROGRESS.name]:
        connection.execute(sa.insert(PROGRESS).values(schedule_id=number, **progress))
    return number


@contextmanager
def _written(app: Flask, rows: list[Made]) -> Iterator[list[int]]:
    """The numbers of those that the database takes, while this lasts."""
    with app.app_context():
        connection, numbers = db.session.connection(), []
        try:
            for place, made in enumerate(rows):
                try:
                    with connection.begin_nested():
                        numbers.append(_insert(connection, made, f"n{place}"))
                except sa.exc.DBAPIError:
                    continue
            yield numbers
        finally:
            db.session.rollback()
            db.session.remove()


def _read(reader: EntryReader, row: Row) -> tuple[Entry | None, str | None]:
    try:
        return reader.read(row, BEGIN.timestamp()), None
    except BrokenRow as error:
        return None, str(error)


def _beat_says(entry: Entry) -> dict[str, Any]:
    recurrence, target, policy = entry.recurrence, entry.target, entry.policy
    return {
        **rule_values(recurrence.rule),
        "task": target.task,
        "call": repr([json.loads(entry.args), json.loads(entry.kwargs)]),
        "queue": target.queue,
        "priority": target.priority,
        "timezone": recurrence.timezone,
        "start": recurrence.start and iso(recurrence.start),
        "end": recurrence.end and iso(recurrence.end),
        "max_runs": recurrence.max_runs,
        "jitter": recurrence.jitter,
        "misfire": policy.misfire,
        "misfire_window": policy.window,
        "overlap": policy.overlap,
        "expire_seconds": policy.expire_seconds,
        "tags": list(entry.tags),
        "done": entry.done,
        "next": entry.next_due,
    }


def _page_says(found: Stored) -> dict[str, Any]:
    shown = found.snapshot
    next_due = found.due_times(max(BEGIN, found.row.last_due_at or BEGIN), 1)
    return {
        **{name: shown[name] for name in ("task", "queue", "priority", "timezone", "start", "end", "jitter")},
        **{name: shown[name] for name in ("misfire", "misfire_window", "overlap", "expire_seconds", "tags")},
        **(rule_values(found.rule) if found.rule is not None else {}),
        "call": repr([shown["args"], shown["kwargs"]]),
        "max_runs": 1 if found.fired else shown["max_runs"],
        "done": found.runs,
        "next": next_due[0].utc.timestamp() if next_due else None,
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(_rows(), min_size=6, max_size=6))
def test_pages_show_what_beat_does_with_a_row(app: Flask, rows: list[Made]) -> None:
    with _written(app, rows) as numbers:
        reader = EntryReader(lambda name: find_task(name) is not None, rule_for)
        beats = {row.id: row for row in rows_by_id(db.session.connection(), numbers)}
        assert set(beats) == set(numbers)
        for found in find_many(db.session, numbers):
            entry, problem = _read(reader, beats[found.id])
            assert found.problem == problem
            if entry is None:
                assert next_firing(found, BEGIN, ()) is None
                continue
            assert _page_says(found) == _beat_says(entry)
            if found.fired:
                assert entry.next_due is None
            pause = [at for at in (found.row.paused_at, found.row.paused_until) if at is not None]
            for moment in (BEGIN, *pause, *(at - timedelta(seconds=1) for at in pause)):
                assert (hold_at(found, moment, ()) is not None) == entry.policy.paused(moment.timestamp())


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(_rows(), min_size=6, max_size=6))
def test_gathered_by_the_database_rows_say_the_same(app: Flask, rows: list[Made]) -> None:
    with _written(app, rows * 2):
        gathered, one_by_one = DueIndex(), DueIndex()
        gathered.refresh(db.session.connection(), BEGIN)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(grouping, "MAX_GROUPS", 0)
            one_by_one.refresh(db.session.connection(), BEGIN)
        assert gathered.groups == one_by_one.groups
