"""Each migration after `BASE` leaves the database usable for processes of the version before it (docs/upgrading.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from flask_migrate import Config

from tests import servers
from webapp import create_app
from webapp.extensions import db

# The last one of the oldest version whose processes run beside today's.
BASE = "0014_grams"


def shape(engine: sa.Engine) -> dict[str, Any]:
    """Columns by table, and what is unique in it."""
    inspector = sa.inspect(engine)
    found = {}
    for table in inspector.get_table_names():
        columns = {column["name"]: column for column in inspector.get_columns(table)}
        unique = {tuple(each["column_names"]) for each in inspector.get_unique_constraints(table)}
        unique |= {tuple(map(str, each["column_names"])) for each in inspector.get_indexes(table) if each["unique"]}
        found[table] = (columns, unique)
    return found


def broken_rules(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What processes of the version before would trip over."""
    found = [f"{table} is gone" for table in before.keys() - after.keys()]
    for table in before.keys() & after.keys():
        (old, old_unique), (new, new_unique) = before[table], after[table]
        found += [f"{table}.{name} is gone" for name in old.keys() - new.keys()]
        found += [f"{table}: {', '.join(names)} must be unique" for names in new_unique - old_unique]
        for name in new.keys() & old.keys():
            if old[name]["nullable"] and not new[name]["nullable"]:
                found.append(f"{table}.{name} must be given")
            if _holds_less(old[name]["type"], new[name]["type"]):
                found.append(f"{table}.{name} has another type, or is shorter")
        for name in new.keys() - old.keys():
            if not new[name]["nullable"] and new[name]["default"] is None:
                found.append(f"{table}.{name} must be given and has no default")
    return sorted(found)


def _holds_less(old: Any, new: Any) -> bool:
    longest = getattr(new, "length", None)
    shorter = longest is not None and (old.length is None or longest < old.length)
    return old.python_type is not new.python_type or shorter


def test_what_the_version_before_reads_and_writes_stays(tmp_path: Path) -> None:
    app = create_app(servers.settings(f"sqlite:///{tmp_path / 'step.db'}", "redis://127.0.0.1:1/0"))
    config = Config(str(Path("migrations/alembic.ini").absolute()))
    config.set_main_option("script_location", "migrations")
    newer = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions(BASE, "head")]
    with app.app_context():
        command.upgrade(config, BASE)
        before = shape(db.engine)
        for revision in reversed(newer[:-1]):
            command.upgrade(config, revision)
            after = shape(db.engine)
            assert broken_rules(before, after) == [], revision
            before = after
        db.engine.dispose()
    assert newer[-1] == BASE


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("DROP TABLE pets", ["pets is gone"]),
        ("ALTER TABLE pets DROP COLUMN name", ["pets.name is gone"]),
        (
            "ALTER TABLE pets RENAME COLUMN name TO called",
            ["pets.called must be given and has no default", "pets.name is gone"],
        ),
        ("ALTER TABLE pets ADD COLUMN age INTEGER", []),
        ("ALTER TABLE pets ADD COLUMN age INTEGER NOT NULL DEFAULT 0", []),
        ("CREATE UNIQUE INDEX u ON pets (name)", ["pets: name must be unique"]),
        ("CREATE INDEX i ON pets (name)", []),
        ("CREATE TABLE owners (id INTEGER PRIMARY KEY)", []),
    ],
)  # fmt: skip
def test_the_rules_notice(statement: str, rule: list[str]) -> None:
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE pets (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    before = shape(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert broken_rules(before, shape(engine)) == rule
    engine.dispose()
