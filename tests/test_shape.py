"""The shape of the system: what must be true of every route, every module, every table."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from webapp.database.engine import create_engine
from webapp.models import compared, plain_metadata
from webapp.web.access import rule_of

ROOT = Path(__file__).parent.parent


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


def test_no_migration_imports_code_that_changes_after_it() -> None:
    files = sorted((ROOT / "migrations" / "versions").glob("*.py"))
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    imported = {name.split(".")[0] for node in nodes for name in _imported(node)}
    assert imported - sys.stdlib_module_names == {"alembic", "sqlalchemy"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
