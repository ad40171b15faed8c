"""The shape of the system: what must be true of every route, every module, every table."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from webapp.database.engine import create_engine
from webapp.models import compared, plain_metadata
from webapp.web.access import rule_of


def test_every_route_has_an_access_rule(app: Flask) -> None:
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert endpoints
    assert {endpoint for endpoint in endpoints if rule_of(app, endpoint) is None} == set()


def test_migrated_database_equals_models(each_database: str) -> None:
    engine = create_engine(each_database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": compared})
        differences = compare_metadata(context, plain_metadata())
    engine.dispose()
    assert differences == []


@pytest.mark.parametrize("table", ["celery_periodictask", "runs", "mails", "audit", "schedule_details"])
def test_tables_lie_in_the_default_schema(each_database: str, table: str) -> None:
    engine = create_engine(each_database)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert table in names
