"""The two distributions: built, each installed into an empty environment of its own, and run there."""

from __future__ import annotations

import fcntl
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beatdesk import __version__
from tests.packages.environments import (
    ITS_TASK,
    ROOT,
    Environment,
    bare,
    beside,
    build_both,
    made_both,
    started,
    write_project,
)
from tests.servers import free_port, valkey, wait_for
from webapp.launcher.procfile import read_procfile
from webapp.web.installed import resource

pytestmark = pytest.mark.slow


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that is filled once, by whichever process of this test run comes first."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both wheels, each built from its sdist."""
    return made_once(tmp_path_factory, "dist", build_both)


@pytest.fixture(scope="module")
def environments(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Environment]:
    """The environment of a project, with `beatdesk`; and that of the server."""
    folder = made_once(tmp_path_factory, "environments", lambda path: made_both(path, wheels))
    return Environment(folder / "project"), Environment(folder / "server")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A Valkey of this test's own."""
    (tmp_path / "valkey").mkdir()
    with valkey(tmp_path / "valkey") as url:
        yield url


def names_in(wheels: Path, pattern: str) -> set[str]:
    (wheel,) = wheels.glob(pattern)
    with zipfile.ZipFile(wheel) as contents:
        return set(contents.namelist())


def files(folder: str) -> set[str]:
    """What a folder of the checkout has, without what Python and compression made in it."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {name for name in found if not name.endswith((".pyc", ".gz"))}


def test_each_wheel_has_its_own_files_and_nothing_of_the_other(wheels: Path) -> None:
    theirs, server = names_in(wheels, "beatdesk-*.whl"), names_in(wheels, "beatdesk_server-*.whl")
    code = {name for name in files("beatdesk") if name.endswith(".py")}
    assert {name for name in theirs if ".dist-info/" not in name} == code
    expected = {*files("webapp"), *(f"webapp/{name}" for name in files("migrations"))}
    assert {"webapp/static/beatdesk.css.gz", "webapp/static/beatdesk.js.gz"} <= server
    found = {name for name in server if ".dist-info/" not in name and not name.endswith(".gz")}
    assert found == expected | {"wsgi.py", "webapp/Procfile"}
    for names in (theirs, server):
        assert any(name.endswith("licenses/LICENSE") for name in names)


def test_both_have_one_version_and_the_server_needs_the_same_of_the_other(wheels: Path) -> None:
    assert {path.name.split("-")[1] for path in wheels.glob("*.whl")} == {__version__}
    (wheel,) = wheels.glob("beatdesk_server-*.whl")
    with zipfile.ZipFile(wheel) as contents:
        (metadata,) = [name for name in contents.namelist() if name.endswith("METADATA")]
        needed = re.findall(r"^Requires-Dist: (.+)$", contents.read(metadata).decode(), re.MULTILINE)
    assert f"beatdesk=={__version__}" in needed
    assert (ROOT / "LICENSE").read_text() == (ROOT / "beatdesk" / "LICENSE").read_text()


def test_all_of_beatdesk_is_imported_where_only_celery_and_redis_are_installed(
    environments: tuple[Environment, Environment], tmp_path: Path
) -> None:
    project, _ = environments
    code = (
        "import importlib, importlib.util, pkgutil, beatdesk\n"
        "for module in pkgutil.walk_packages(beatdesk.__path__, 'beatdesk.'): importlib.import_module(module.name)\n"
        "print([name for name in ('webapp', 'flask', 'sqlalchemy', 'pydantic') if importlib.util.find_spec(name)])"
    )
    assert project.output("python", "-c", code, environ=bare(tmp_path), cwd=tmp_path) == "[]\n"


def test_celerys_own_commands_load_no_more_of_beatdesk_than_the_command(
    environments: tuple[Environment, Environment], tmp_path: Path
) -> None:
    project, _ = environments
    code = (
        "import sys; from celery.bin.celery import celery\n"
        "print('beatdesk' in celery.commands, sorted(name for name in sys.modules if name.startswith('beatdesk')))"
    )
    said = project.output("python", "-c", code, environ=bare(tmp_path), cwd=tmp_path)
    assert said == "True ['beatdesk', 'beatdesk.command']\n"


def test_without_a_server_the_command_prints_how_to_install_it(
    environments: tuple[Environment, Environment], tmp_path: Path
) -> None:
    project, _ = environments
    write_project(tmp_path, "redis://127.0.0.1:1/0")
    environ = bare(tmp_path, PATH="/usr/bin:/bin")
    said = project.output("celery", "-A", "shop", "beatdesk", environ=environ, cwd=tmp_path, fails=True)
    assert said == "Error: The server is not installed. Install it with: pipx install beatdesk-server\n"


def test_the_server_migrates_and_lists_what_it_can_do(
    environments: tuple[Environment, Environment], tmp_path: Path
) -> None:
    _, server = environments
    environ = bare(tmp_path, SECRET_KEY="only-for-this-test-0123456789")
    listed = server.output("beatdesk-server", "--help", environ=bare(tmp_path), cwd=tmp_path)
    for name in ("run", "db", "schedules", "runs", "users", *read_procfile(resource("Procfile"))):
        assert re.search(rf"^  {name} ", listed, re.MULTILINE), name
    server.output("beatdesk-server", "db", "upgrade", environ=environ, cwd=tmp_path)
    people = server.output("beatdesk-server", "users", "list", environ=environ, cwd=tmp_path)
    assert "Traceback" not in people
    assert (tmp_path / "share" / "beatdesk" / "beatdesk.db").exists()
    # Its static files are compressed already: it may be installed where it cannot write.
    said = server.output("beatdesk-server", "static", "compress", environ=environ, cwd=tmp_path)
    assert said == "0 files compressed\n"


def test_the_server_runs_everything_in_a_folder_with_modules_of_its_names(
    environments: tuple[Environment, Environment], tmp_path: Path
) -> None:
    _, server = environments
    write_project(tmp_path, "redis://127.0.0.1:1/0")
    environ = bare(tmp_path, PORT=str(free_port()))
    with started([server.program("beatdesk-server"), "run"], environ, tmp_path, tmp_path / "log") as running:
        running.sign_in()
        assert "send-birthday-emails" in running.page("/schedules")
    assert "The data stays in" in running.output()


def test_the_command_shows_their_tasks_and_imports_their_schedule(
    environments: tuple[Environment, Environment], broker: str, tmp_path: Path
) -> None:
    project, server = environments
    folder = write_project(tmp_path / "project", broker)
    # What their own code reads is not for the server.
    theirs = {"DATABASE_URL": "postgresql://127.0.0.1:1/theirs", "SECRET_KEY": "theirs", "PYTHONPATH": str(folder)}
    environ = bare(tmp_path, BEATDESK_PORT=str(free_port()), **theirs)
    with started(beside(project, server, "--import-schedule"), environ, folder, tmp_path / "log") as running:
        running.sign_in()
        wait_for(lambda: ITS_TASK in running.page("/runs/new"), seconds=60)
        wait_for(lambda: "Your schedule is imported" in running.output(), seconds=60)
        page = running.page("/schedules")
        assert all(name in page for name in ("close-the-books", "poll", "Europe/Berlin"))
        secret = [line for line in running.output().splitlines() if "theirs" in line]
        assert secret == []
    assert "The data stays in" in running.output()
