"""Beat notices a change by its revision, so the triggers must watch every column that matters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.models import Resume
from webapp.schedule_store.pause_rows import PAUSES
from webapp.schedule_store.rows import DETAILS, RULE_TABLES, TASKS, changed_rows, latest_revision
from webapp.schedules import service

pytestmark = pytest.mark.each_database

RULES: dict[Kind, dict[str, Any]] = {
    Kind.INTERVAL: {"every": 10, "period": "minutes"},
    Kind.CRONTAB: {"crontab": "30 2 * * *", "timezone": "Europe/Berlin"},
    Kind.SOLAR: {"event": "sunset", "latitude": 27.7, "longitude": 85.3},
    Kind.CLOCKED: {"at": "2100-01-01T00:00:00Z"},
}
# Columns whose changes need no revision, and why.
UNWATCHED: dict[sa.Table, dict[str, str]] = {
    TASKS: {
        "description": "read by people only, on pages that look it up each time",
        "last_run_at": "noted by each beat after its runs, and decides nothing",
        "total_run_count": "noted by each beat after its runs; `one_off` is switched off or on beside it",
        "date_changed": "noted by the library at any save",
    },
    DETAILS: {
        "changed_at": "is when the revision rose",
        "failing_since": "the recorder's note of why it has paused it, which only recorders read",
        "failures_from": "from when on recorders count failures, which only they do",
    },
    PAUSES: {
        "created_at": "said to people only",
        "ended_by": "said to people only",
        "caught_up_to": "beat's own note of how far it has come",
        "caught_up": "beat's own note of how far it has come",
        "settled_at": "beat's own note that it has come to an end",
        "changed_at": "is when the revision rose",
    },
}


def _other(column: sa.Column[Any], value: Any) -> Any:
    """A value that the column takes and that is another one."""
    kind = column.type
    if isinstance(kind, sa.Enum):
        return next(word for word in kind.enums if word != value)
    of = getattr(kind, "impl_instance", kind).python_type
    if of is bool:
        return not value
    if of is datetime:
        return (value or now()).replace(tzinfo=UTC) + timedelta(hours=1)
    return (value or 0) + 1 if of in {int, float, Decimal} else f"{value or ''}x"[-8:]


def _changed(table: sa.Table, key: sa.ColumnElement[bool], column: sa.Column[Any]) -> tuple[int, int]:
    """The revision before and after a column was changed by plain SQL."""
    with db.engine.begin() as connection:
        before = latest_revision(connection)
        value = connection.execute(sa.select(column).where(key)).scalar_one()
    with db.engine.begin() as connection:
        changed = connection.execute(sa.update(table).where(key).values({column: _other(column, value)}))
        assert changed.rowcount == 1
    with db.engine.connect() as connection:
        return before, latest_revision(connection)


def _columns(table: sa.Table) -> list[sa.Column[Any]]:
    """All but the key, which stays the same for as long as there is the row, and what the triggers themselves write."""
    return [column for column in table.columns if not column.primary_key and column.name != "revision"]


@pytest.mark.parametrize("kind", Kind)
def test_beat_hears_of_a_change_of_any_column(context: Flask, kind: Kind) -> None:
    made = service.create({"name": "watched", "task": "add", "args": [1, 2], "kind": kind.value, **RULES[kind]})
    db.session.remove()
    rows = {
        RULE_TABLES[kind]: RULE_TABLES[kind].c.id == made.row.rule_id,
        DETAILS: DETAILS.c.schedule_id == made.id,
        # Last, because its kind and the number of its rule are changed too.
        TASKS: TASKS.c.id == made.id,
    }
    for table, key in rows.items():
        for column in _columns(table):
            before, after = _changed(table, key, column)
            with db.engine.connect() as connection:
                heard = [row.id for row in changed_rows(connection, before)]
            watched = column.name not in UNWATCHED.get(table, {})
            assert (after > before, heard) == (watched, [made.id] * watched), f"{column} is watched: {not watched}"


def test_beat_hears_of_a_change_of_any_column_of_a_pause(context: Flask) -> None:
    values = {"starts_at": now(), "reason": "because", "on_resume": Resume.SKIP}
    with db.engine.begin() as connection:
        number = connection.execute(sa.insert(PAUSES).values(values).returning(PAUSES.c.id)).scalar_one()
    for column in _columns(PAUSES):
        before, after = _changed(PAUSES, PAUSES.c.id == number, column)
        assert (after > before) == (column.name not in UNWATCHED[PAUSES]), column


def test_what_is_not_watched_is_a_column() -> None:
    """A reason for one that is gone would be believed of the next one of that name."""
    assert all(set(names) <= set(table.columns.keys()) for table, names in UNWATCHED.items())
