"""A SQLite database is private to its owner from the start, and again after its permissions were widened."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import servers
from webapp import create_app
from webapp.database.private_files import SIDECARS, database_files
from webapp.launcher.launch import ACCOUNT_EXISTS


def modes(path: Path) -> dict[str, int]:
    there = [Path(f"{path}{suffix}") for suffix in SIDECARS]
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in there if file.exists()}


def test_a_new_database_and_what_lies_beside_it_are_private(tmp_path: Path, valkey_url: str) -> None:
    app = create_app(servers.settings(f"sqlite:///{tmp_path / 'new.db'}", valkey_url, data=tmp_path))
    with app.app_context():
        engine = app.extensions["sqlalchemy"].engine
        with engine.connect() as connection:
            connection.execute(sa.text("CREATE TABLE kept (id INTEGER)"))
            connection.commit()
            assert modes(tmp_path / "new.db") == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}
        engine.dispose()


def test_wider_permissions_are_removed_and_logged_once(
    tmp_path: Path, valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "old.db"
    for suffix in ("", "-wal"):
        Path(f"{file}{suffix}").touch()
        Path(f"{file}{suffix}").chmod(0o666)
    settings = servers.settings(f"sqlite:///{file}", valkey_url, data=tmp_path)
    with caplog.at_level(logging.WARNING, "webapp.database.private_files"):
        create_app(settings)
        create_app(settings)
    assert modes(file) == {"old.db": 0o600, "old.db-wal": 0o600}
    assert [record.getMessage() for record in caplog.records] == [f"Restricted to their owner: {file}, {file}-wal."]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql+psycopg://somewhere/x"])
def test_other_databases_have_no_file(url: str) -> None:
    assert database_files(url) == []


def test_the_launcher_knows_an_admin_that_is_there(
    tmp_path: Path, databases: servers.Databases, valkey_url: str
) -> None:
    """The launcher's reading of the command's output; with a mistake in it the password would be printed again."""
    settings = servers.settings(databases.sqlite(), valkey_url, data=tmp_path)
    given = settings.with_changes(admin_email="boss@example.com", admin_password="seven quiet bicycles")
    runner = create_app(given).test_cli_runner()
    said = [runner.invoke(args=["users", "ensure-admin"]).output for _ in range(2)]
    assert [ACCOUNT_EXISTS in text for text in said] == [False, True]
    assert not any("seven quiet bicycles" in text for text in said)
