from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from webapp.database.engine import Name, UtcDateTime, create_engine
from webapp.run_store.creation import FIRE_MISSED, KEEP, SENT_EARLIER, NewRun, insert
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState

pytestmark = pytest.mark.each_database

AT = datetime(2027, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
ODD = "a\x00b\udce9\u2028\\u0000 {batch} :name '\"\n"


def new(**values: Any) -> NewRun:
    return NewRun(str(uuid.uuid4()), "add", RunState.QUEUED, Origin.TASK, AT)._replace(**values)


def odd() -> NewRun:
    """A run that says something in every column: 0 where that is another thing than nothing, and odd or long texts."""
    values: dict[str, Any] = {}
    for name in NewRun._fields[5:]:
        type_ = sa.inspect(Run).columns[name].type
        long = isinstance(type_, (Name, sa.Text))
        text = str(uuid.uuid4()) if name.endswith(("_id", "_of")) else ODD + "é" * 300 * long
        values[name] = 0 if isinstance(type_, sa.Integer) else AT if isinstance(type_, UtcDateTime) else text
    return new(**values, task=ODD * 20)


def stored(engine: sa.Engine, run_id: str) -> dict[str, Any]:
    with engine.connect() as connection:
        row = connection.execute(sa.select(Run.__table__).where(Run.id == run_id)).one()
    return dict(row._mapping)


@pytest.fixture
def engine(database_url: str) -> Any:
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("say", [new, odd])
@pytest.mark.parametrize("existing", [KEEP, FIRE_MISSED, SENT_EARLIER])
def test_a_batch_keeps_what_a_session_keeps(engine: sa.Engine, say: Any, existing: str) -> None:
    batched = say()
    single = batched._replace(id=str(uuid.uuid4()), due_at=batched.due_at and AT + timedelta(days=1))
    with Session(engine) as session:
        session.add(Run(**single._asdict()))
        session.commit()
    with engine.begin() as connection:
        assert insert(connection, [batched], existing) == {batched.id}
    kept, expected = stored(engine, batched.id), stored(engine, single.id)
    # Of a run that is claimed, the database says when.
    assert (kept.pop("claim_seen_at") is None) == (batched.claimed_by is None)
    del expected["claim_seen_at"]
    assert kept == expected | {"id": batched.id, "due_at": batched.due_at}


def test_each_default_is_that_of_the_model() -> None:
    defaults: dict[str, Any] = {name: sa.inspect(Run).columns[name].default for name in NewRun._field_defaults}
    assert {name: default and default.arg for name, default in defaults.items()} == NewRun._field_defaults


def test_what_exists_stays_or_follows_its_rule(engine: sa.Engine) -> None:
    earlier, later = AT - timedelta(seconds=5), AT + timedelta(seconds=5)
    missed = new(state=RunState.MISSED, schedule_id=7, due_at=AT)
    claimed, plain = new(started_at=AT), new()
    with engine.begin() as connection:
        assert insert(connection, [missed, claimed, plain]) == {missed.id, claimed.id, plain.id}
        assert insert(connection, [plain._replace(task="other"), plain._replace(task="third")]) == set()
        assert insert(connection, [plain._replace(created_at=later)], SENT_EARLIER) == set()
        assert insert(connection, [claimed._replace(created_at=earlier, sent_at=earlier)], SENT_EARLIER) == {claimed.id}
        assert insert(connection, [missed._replace(state=RunState.MISSED)], FIRE_MISSED) == set()
        assert insert(connection, [missed._replace(state=RunState.QUEUED)], FIRE_MISSED) == {missed.id}
        assert insert(connection, [], FIRE_MISSED) == set()
    assert stored(engine, plain.id)["task"] == "add"
    assert stored(engine, claimed.id)["sent_at"] == stored(engine, claimed.id)["created_at"] == earlier
    assert stored(engine, missed.id)["state"] == RunState.QUEUED
