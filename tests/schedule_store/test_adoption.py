from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask.testing import FlaskCliRunner
from sqlalchemy.orm import Session
from sqlalchemy_celery_beat.models import CrontabSchedule, IntervalSchedule, ModelBase, PeriodicTask

from tests import servers
from webapp import create_app
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store import stored
from webapp.schedule_store.rows import TASKS, select_schedules

SCHEMA = "celery_schema"
LIBRARY = [table for table in ModelBase.metadata.sorted_tables if table.schema == SCHEMA]


@pytest.fixture(params=["sqlite", "postgresql", "postgresql without its schema"])
def adopted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str | None]:
    """The URL of a database as that library makes and fills it, and in which schema."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'theirs.db'}", None
    root = request.getfixturevalue("databases").postgres_url()
    name = f"theirs{uuid.uuid4().hex}"
    servers._execute(root, f"CREATE DATABASE {name}")
    return servers.in_database(root, name), SCHEMA if request.param == "postgresql" else None


@pytest.fixture
def filled(adopted: tuple[str, str | None]) -> Iterator[sa.Engine]:
    url, schema = adopted
    engine = sa.create_engine(url, execution_options={"schema_translate_map": {SCHEMA: schema}})
    with engine.begin() as connection:
        if schema:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        ModelBase.metadata.create_all(connection, tables=LIBRARY)
        for index in (index for table in LIBRARY for index in table.indexes):
            index.drop(connection)  # the library has none; these are ours
    with Session(engine) as session:
        often = IntervalSchedule(every=10, period="minutes")
        nightly = CrontabSchedule(minute="30", hour="2", timezone="Europe/Berlin")
        session.add_all([often, nightly])
        session.flush()
        seen = {"last_run_at": datetime(2026, 1, 1, 14, 37, tzinfo=UTC), "total_run_count": 7}
        session.add(PeriodicTask(name="sums", task="add", args="[1, 2]", schedule_model=often, **seen))
        off = {"enabled": False, "queue": "slow"}
        session.add(PeriodicTask(name="nightly", task="add", args="[3, 4]", schedule_model=nightly, **off))
        session.commit()
    yield engine
    engine.dispose()


def test_adopted_schedules_stay_and_other_programs_keep_working(
    adopted: tuple[str, str | None], filled: sa.Engine
) -> None:
    began = now()
    servers.migrate(adopted[0])
    app = create_app(servers.settings(adopted[0], "redis://127.0.0.1:1/0"))
    with app.app_context():
        found = stored.load(db.session, select_schedules().order_by(TASKS.c.name))
        assert [(one.name, one.words, one.row.total_run_count, one.problem) for one in found] == [
            ("nightly", "every day at 02:30, Europe/Berlin time", 0, None),
            ("sums", "every 10 minutes", 7, None),
        ]
        # Noted as changed now: what lies before is not due.
        assert all(one.row.version == 1 and one.row.revision > 0 and one.row.changed_at >= began for one in found)
        # At 14:47 and so on, as until now.
        assert {due.utc.minute % 10 for due in found[1].due_times(now(), 3)} == {7}
        db.session.execute(sa.update(TASKS).where(TASKS.c.name == "sums").values(enabled=False))
        db.session.commit()
        again = stored.find_named(db.session, "sums")
        assert again is not None
        assert again.row.revision > found[1].row.revision
        db.session.remove()
        db.engine.dispose()
    # Programs that know the tables where they were go on.
    with Session(filled) as session:
        session.execute(sa.update(PeriodicTask).where(PeriodicTask.name == "sums").values(description="seen"))
        session.add(IntervalSchedule(every=3, period="hours"))
        session.commit()
        assert session.scalar(sa.select(PeriodicTask.description).where(PeriodicTask.name == "sums")) == "seen"
        assert session.scalars(sa.select(IntervalSchedule.every).order_by(IntervalSchedule.id)).all() == [10, 3]


def test_one_of_an_older_version_is_refused_in_words(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE celery_periodictask (id INTEGER PRIMARY KEY, name TEXT)")
    engine.dispose()
    with pytest.raises(RuntimeError, match=r"celery_periodictask is there without .*discriminator"):
        servers.migrate(url)


def test_another_database_can_be_read(
    adopted: tuple[str, str | None], filled: sa.Engine, runner: FlaskCliRunner
) -> None:
    command = ["schedules", "import", "--database", adopted[0]]
    shown = runner.invoke(args=command)
    assert "+ nightly\n+ sums\n" in shown.output
    assert "Nothing was written" in shown.output
    assert runner.invoke(args=[*command, "--apply"]).exit_code == 0
    assert '"queue": "slow"' in runner.invoke(args=["schedules", "show", "nightly", "--json"]).output
    with runner.app.app_context():
        sums = stored.find_named(db.session, "sums")
        assert sums is not None
        assert {due.utc.minute % 10 for due in sums.due_times(now(), 3)} == {7}
    # The same again: all of it is here. And nothing was written there.
    assert runner.invoke(args=command).output.startswith("  nightly\n  sums\n")
    assert "schedule_details" not in sa.inspect(filled).get_table_names()


def test_an_address_that_is_none_is_not_repeated(runner: FlaskCliRunner, tmp_path: Path) -> None:
    for url in ("nonsense:secret@host", f"sqlite:///{tmp_path}/none.db", "postgresql+psycopg://u:secret@127.0.0.1:1/x"):
        shown = runner.invoke(args=["schedules", "import", "--database", url])
        assert shown.exit_code == 1
        assert "secret" not in shown.output
    assert not (tmp_path / "none.db").exists()
