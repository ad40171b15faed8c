"""An impossible configuration is refused at the start, in one line, by every command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import servers
from webapp import create_app
from webapp.config import NAMES, PREFIX, ConfigError, Settings
from webapp.launcher.environment import use_data_folder
from webapp.launcher.plan import read_settings

SECRET = "0123456789abcdef"  # no secret
ROOT = Path(__file__).parent.parent


def run(folder: Path, *command: str, **given: str) -> subprocess.CompletedProcess[str]:
    """A command in a checkout with this data folder, in a terminal where nothing else is set."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES and not name.startswith(PREFIX)}
    environ = {**kept, "BEATDESK_DATA": str(folder), "FLASK_APP": "wsgi", **given}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line with which it ended."""
    assert done.returncode != 0
    (line,) = (done.stdout + done.stderr).splitlines()
    return line


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, databases: servers.Databases, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'theirs.db'}"
    root = databases.postgres_url()
    name = f"theirs{os.urandom(6).hex()}"
    servers._execute(root, f"CREATE DATABASE {name}")
    return servers.in_database(root, name)


@pytest.mark.parametrize("sender", ["nobody", "a@b@c <x>", "Beatdesk <beat desk@example.com>"])
def test_a_sender_that_no_mail_can_bear_is_refused(sender: str) -> None:
    given = {"SECRET_KEY": SECRET, "MAIL_DEFAULT_SENDER": sender, "MAIL_SERVER": "localhost"}
    with pytest.raises(ConfigError, match=r"^MAIL_DEFAULT_SENDER must look like"):
        read_settings(given)
    with pytest.raises(ConfigError, match=r"^MAIL_DEFAULT_SENDER must look like"):
        create_app(Settings.from_env(given))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # nothing listens
        ("192.0.2.7", "http://192.0.2.7:8000"),
    ],
)
def test_the_announced_address_is_the_one_that_listens(host: str, url: str) -> None:
    settings = Settings.from_env({"SECRET_KEY": SECRET, "HOST": host, "PORT": "8000"})
    assert settings.public_url == url
    assert "[" not in settings.host


@pytest.mark.parametrize("more", ["/?a=1", "/#a", "?", "/a b", "/a//b", "/../a", "/.", "/a%2fb", "/a;b", "/ä", "/a\\b"])
def test_a_public_url_that_is_no_address_of_ours_is_refused(more: str) -> None:
    with pytest.raises(ConfigError, match=r"^PUBLIC_URL must be a host"):
        Settings.from_env({"SECRET_KEY": SECRET, "PUBLIC_URL": f"https://example.com{more}"})


@pytest.mark.parametrize("path", ["", "/beat", "/tools/beat-desk_2.0"])
def test_a_public_url_may_have_a_path(path: str) -> None:
    for slash in ("", "/"):
        settings = Settings.from_env({"SECRET_KEY": SECRET, "PUBLIC_URL": f"https://example.com{path}{slash}"})
        assert (settings.public_url, settings.root) == (f"https://example.com{path}", path)


@pytest.mark.parametrize("path", ["/schedules", "/static/x"])
def test_a_path_like_that_of_a_page_is_refused(settings: Settings, path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^PUBLIC_URL must not have the path {path}: "):
        create_app(settings.with_changes(public_url=f"https://example.com{path}"))


@pytest.mark.slow
@pytest.mark.parametrize("command", [("flask", "db", "upgrade"), ("celery", "-A", "wsgi:celery", "worker")])
def test_command_prints_in_one_line_what_is_missing(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert refused(run(tmp_path, *command)).startswith("SECRET_KEY is not set.")
    line = refused(run(tmp_path, *command, SECRET_KEY=SECRET, DATABASE_URL="mysql://localhost/x"))
    assert line == "DATABASE_URL must begin with sqlite:/// or postgresql://."


@pytest.mark.slow
def test_command_without_its_database_explains_what_to_do(empty_database: str, tmp_path: Path) -> None:
    line = refused(run(tmp_path, "flask", "users", "list", SECRET_KEY=SECRET, DATABASE_URL=empty_database))
    assert line.startswith("The database of DATABASE_URL is not ready: ")
    assert "users" in line
    assert line.endswith("Start `make run`, or migrate it with `flask --app wsgi db upgrade`.")


@pytest.mark.slow
def test_command_reports_that_the_database_is_down(tmp_path: Path) -> None:
    url = f"postgresql://127.0.0.1:{servers.free_port()}/x"
    line = refused(run(tmp_path, "flask", "users", "list", SECRET_KEY=SECRET, DATABASE_URL=url))
    assert "is not ready: connection failed" in line


@pytest.mark.slow
def test_a_broken_task_module_names_the_setting_and_the_module(tmp_path: Path) -> None:
    (tmp_path / "broken_shop.py").write_text("import no_such_library\n")
    given = {"SECRET_KEY": SECRET, "TASK_MODULES": "broken_shop", "PYTHONPATH": str(tmp_path)}
    worker = run(tmp_path, "celery", "-A", "wsgi:celery", "worker", **given)
    assert refused(worker) == (
        "TASK_MODULES names broken_shop, which cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such_library'"
    )


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["CREATE TABLE users (id INTEGER)"], "its tables are users"),
        # A number that is one of ours too.
        (
            ["CREATE TABLE alembic_version (version_num VARCHAR(32))", "INSERT INTO alembic_version VALUES ('0001')"],
            "its alembic_version is 0001",
        ),
    ],
)
def test_another_programs_database_is_left_as_it_is(empty_database: str, statements: list[str], said: str) -> None:
    engine = sa.create_engine(empty_database)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    before = sa.inspect(engine).get_table_names()
    with pytest.raises(ConfigError, match=r"^DATABASE_URL names a database of another program") as caught:
        servers.migrate(empty_database)
    assert said in str(caught.value)
    assert sa.inspect(engine).get_table_names() == before
    engine.dispose()


def test_a_command_finds_the_settings_of_make_run(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text(f"{SECRET}\n")
    folder = {"BEATDESK_DATA": str(tmp_path)}
    key = {"BEATDESK_SECRET_KEY": SECRET}
    stopped = dict(folder)
    use_data_folder(stopped)
    assert stopped == folder | key
    (tmp_path / "env.sh").write_text(
        f"export BEATDESK_REDIS_URL='redis://:a b@h/0'\nBEATDESK_TASK_MODULES=shop\nexport PATH=/x\n"
        f"export BEATDESK_SECRET_KEY={SECRET}\n"
    )
    more = {"BEATDESK_REDIS_URL": "redis://:a b@h/0", "BEATDESK_TASK_MODULES": "shop"}
    for given in ({}, {"SECRET_KEY": SECRET}, key):
        environ = folder | given
        use_data_folder(environ)
        assert environ == folder | (given or key) | more
    for name in ("REDIS_URL", "BEATDESK_REDIS_URL"):
        chosen = {**folder, name: "redis://mine"}
        use_data_folder(chosen)
        assert chosen == folder | key | {name: "redis://mine", "BEATDESK_TASK_MODULES": "shop"}
    for name in ("SECRET_KEY", "DATABASE_URL", "BEATDESK_SECRET_KEY", "BEATDESK_DATABASE_URL"):
        other = {**folder, name: "postgresql://of-another-installation"}
        before = dict(other)
        use_data_folder(other)
        assert other == before


@pytest.mark.slow
def test_a_later_error_names_the_variable_that_was_set(tmp_path: Path) -> None:
    given = {"BEATDESK_SECRET_KEY": SECRET, "BEATDESK_TASK_MODULES": "no_such_shop", "BEATDESK_PROT": "1"}
    done = run(tmp_path, "celery", "-A", "wsgi:celery", "worker", **given)
    unknown, error = (done.stdout + done.stderr).splitlines()
    assert unknown == "Beatdesk has no setting BEATDESK_PROT. Did you mean BEATDESK_PORT?"
    assert error.startswith("BEATDESK_TASK_MODULES names no_such_shop, which cannot be imported")
