"""The shape of the system: what must be true of every route, every module, every table."""

from __future__ import annotations

import ast
import re
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


@pytest.mark.each_database
def test_migrated_database_equals_models(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": compared})
        differences = compare_metadata(context, plain_metadata())
    engine.dispose()
    assert differences == []


@pytest.mark.each_database
@pytest.mark.parametrize("table", ["celery_periodictask", "runs", "mails", "audit", "schedule_details"])
def test_tables_lie_in_the_default_schema(database_url: str, table: str) -> None:
    engine = create_engine(database_url)
    names = sa.inspect(engine).get_table_names()
    engine.dispose()
    assert table in names


def test_no_migration_imports_code_that_changes_after_it() -> None:
    nodes = [node for _, node in _nodes(ROOT / "migrations" / "versions")]
    imported = {name.split(".")[0] for node in nodes for name in _imported(node)}
    assert imported - sys.stdlib_module_names == {"alembic", "sqlalchemy"}


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def test_runs_and_mails_are_created_in_one_module_each() -> None:
    found = {
        (file, table)
        for folder in ("beatdesk", "webapp")
        for file, node in _nodes(ROOT / folder)
        if (table := _created(node)) is not None
    }
    assert found == {("webapp/run_store/creation.py", "runs"), ("webapp/mail_store/outbox.py", "mails")}


@pytest.mark.parametrize(
    "code",
    [
        "Run(id=1)",
        "models.Run(id=1)",
        "sa.insert(Run)",
        "_insert(connection)(Run)",
        "sqlite.insert(runs).values(rows)",
        "session.bulk_insert_mappings(Run, rows)",
        "Run.__table__.insert()",
        "connection.execute(sa.text(f'insert into runs ({columns}) VALUES {values}'))",
    ],
)
def test_each_way_to_create_a_run_is_seen(code: str) -> None:
    assert {_created(node) for node in ast.walk(ast.parse(code))} == {None, "runs"}


@pytest.mark.parametrize(
    "code", ["sa.update(Run)", "sa.insert(RunLine)", "'INSERT INTO run_lines'", "rows.insert(0, run)"]
)
def test_what_creates_none_is_left_alone(code: str) -> None:
    assert {_created(node) for node in ast.walk(ast.parse(code))} == {None}


_CREATED = {"Run": "runs", "runs": "runs", "RUNS": "runs", "Mail": "mails", "mails": "mails", "MAILS": "mails"}


def _created(node: ast.AST) -> str | None:
    """The table of which this makes a row: a model that is called, an insert of it, or an INSERT as text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = re.search(r"\binsert\s+into\s+(runs|mails)\b", node.value, re.IGNORECASE)
        return text and text[1].lower()
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    if (name := called.split(".")[-1]) in ("Run", "Mail"):
        return _CREATED[name]
    named = re.findall(r"\w+", called) + [ast.unparse(argument).split(".")[-1] for argument in node.args[:1]]
    return next((_CREATED[name] for name in named if name in _CREATED), None) if "insert" in called else None


def _nodes(folder: Path) -> list[tuple[str, ast.AST]]:
    files = sorted(folder.rglob("*.py"))
    assert files
    return [(str(file.relative_to(ROOT)), node) for file in files for node in ast.walk(ast.parse(file.read_text()))]


# What goes past a library, in one place for each: what the module may do that no other one does, and why.
SHAPED_BY_DATABASE = {
    "schedules/list/recent_runs.py": "a walk for each schedule: LATERAL in PostgreSQL, a UNION in SQLite",
    "schedules/list/trigrams.py": "an index of another kind, and statistics that only PostgreSQL has",
    "schedules/sources/database.py": "another program's database, which may be a file that is not there",
    "scheduler/core.py": "SQLite has no clock of its own to go by",
    "web/transactions.py": "SQLite has no clock of its own to go by",
    "leaving/tables.py": "triggers and functions, as the catalogue of each database names them",
}
PRIVATE_NAMES = {
    "messaging/redis_transport.py": "kombu: the lists of queues, and how many heard a question",
    "secrecy/celery_parts.py": "Celery: its tasks, without importing them all; lies below messaging",
    "database/postgresql.py": "psycopg: its time-out",
    "identity/limits.py": "Flask-Limiter: that its storage is away",
    "web/access.py": "Flask-Login: a user for a request without a session",
    "mail/connection.py": "Flask-Mail: where it makes its connections",
    "mail/views.py": "werkzeug: the object behind a proxy",
    "live/views.py": "werkzeug: the object behind a proxy",
    "runs/list/export.py": "werkzeug: the object behind a proxy",
    "secrecy/masking.py": "its own class",
}


def modules_with(pattern: str) -> set[str]:
    return {
        path.relative_to(root).as_posix()
        for root in (ROOT / "beatdesk", ROOT / "webapp")
        for path in root.rglob("*.py")
        if re.search(pattern, path.read_text("utf-8"))
    }


def test_only_the_room_of_the_database_asks_which_database_it_is() -> None:
    asking = modules_with(r"\.dialect\b|\bdialect(\.name| ==)|get_backend_name|sqlalchemy\.dialects import.*sqlite")
    assert {module for module in asking if not module.startswith("database/")} == set()
    assert modules_with(r"\bis_sqlite\(") == {"database/dialects.py", *SHAPED_BY_DATABASE}


def test_private_names_of_libraries_are_used_in_one_place_each() -> None:
    assert modules_with(r"noqa: SLF001|(?:has|get)attr\(\w+, \"_[a-z]") == set(PRIVATE_NAMES)


def test_tasks_of_single_tests_are_in_no_other_app() -> None:
    """A task that is shared is registered in each app that is made later, as often as it was defined."""
    shared = {
        f"{path.relative_to(ROOT)}:{inner.lineno}"
        for path in (ROOT / "tests").rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef)
        for inner in ast.walk(function)
        if isinstance(inner, ast.FunctionDef) and inner is not function
        for decorator in inner.decorator_list
        if "shared_task" in ast.unparse(decorator)
    }
    assert shared == set()
