"""A project's database as sqlalchemy-celery-beat makes it, with schedules, which Beatdesk then takes over."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy_celery_beat.models import CrontabSchedule, IntervalSchedule, ModelBase, PeriodicTask

from tests import servers
from tests.leaving import contents
from webapp.leaving.tables import LIBRARY_SCHEMA


@dataclass(frozen=True)
class Theirs:
    """Their database: its schema for the library's tables, and what it held before Beatdesk."""

    url: str
    schema: str | None
    before: dict[str, list[Any]]


def make_theirs(url: str, schema: str | None) -> Theirs:
    """Make the library's tables as its own beat does, with two schedules, and a table of the project's."""
    engine = sa.create_engine(url, execution_options={"schema_translate_map": {LIBRARY_SCHEMA: schema}})
    library = [table for table in ModelBase.metadata.sorted_tables if table.schema == LIBRARY_SCHEMA]
    with engine.begin() as connection:
        if schema:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        connection.exec_driver_sql("CREATE TABLE parcels (id INTEGER PRIMARY KEY, weight INTEGER)")
        connection.exec_driver_sql("INSERT INTO parcels VALUES (1, 250)")
        ModelBase.metadata.create_all(connection, tables=library)
        for index in (index for table in library for index in table.indexes):
            index.drop(connection)  # The library has none; these are Beatdesk's.
    with Session(engine) as session:
        often = IntervalSchedule(every=1, period="seconds")
        nightly = CrontabSchedule(minute="30", hour="2", timezone="Europe/Berlin")
        session.add_all([often, nightly])
        session.flush()
        session.add(PeriodicTask(name="often", task="shop.note", args='["by beat"]', schedule_model=often))
        session.add(PeriodicTask(name="nightly", task="shop.note", args='["n"]', schedule_model=nightly, queue="shop"))
        session.commit()
    engine.dispose()
    return Theirs(url, schema, contents.of_database(url))


@pytest.fixture(params=["sqlite", "postgresql", "postgresql without its schema"])
def theirs(request: pytest.FixtureRequest, databases: servers.Databases) -> Theirs:
    """Their database, with Beatdesk's tables since."""
    if request.param == "sqlite":
        url, schema = f"sqlite:///{databases.folder / f'{uuid.uuid4().hex}.db'}", None
    else:
        name = f"theirs{uuid.uuid4().hex}"
        servers._execute(databases.postgres_url(), f"CREATE DATABASE {name}")
        url = servers.in_database(databases.postgres_url(), name)
        schema = LIBRARY_SCHEMA if request.param == "postgresql" else None
    made = make_theirs(url, schema)
    servers.migrate(url)
    return made


@pytest.fixture
def database_url(request: pytest.FixtureRequest, databases: servers.Databases) -> str:
    """A fresh database, or theirs: never the run's PostgreSQL database, whose tables must stay."""
    if hasattr(request, "param"):
        return databases.sqlite()
    theirs: Theirs = request.getfixturevalue("theirs")
    return theirs.url
