"""`beatdesk-server` in a checkout: which commands it has, and what it makes of their environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from webapp.cli import COMMANDS
from webapp.launcher import server as server_module
from webapp.launcher.procfile import read_procfile, shell_command
from webapp.launcher.server import prepare, server
from webapp.web import installed
from webapp.web.installed import ROOT, resource


def test_it_lists_run_each_process_and_each_group_without_any_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"]})
    listed = CliRunner().invoke(server, ["--help"]).output.partition("Commands:\n")[2]
    names = {line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "}
    assert names == {"run", "db", *read_procfile(resource("Procfile")), *(group.name for group in COMMANDS)}


def test_a_process_is_the_line_of_the_procfile_with_further_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(os, "execv", lambda _program, command: started.append(command))
    monkeypatch.chdir(ROOT / "docs")
    CliRunner().invoke(server, ["worker", "--pool", "solo", "-Q", "a b;c"], catch_exceptions=False)
    assert started == [
        ("/bin/sh", "-c", "exec celery --app wsgi:celery worker --hostname beatdesk@%h --pool solo -Q 'a b;c'")
    ]
    assert Path.cwd() == ROOT


def test_a_line_of_several_programs_keeps_its_shell() -> None:
    assert shell_command("one && two") == ("/bin/sh", "-c", "one && two")


def test_paths_are_those_of_the_folder_in_which_it_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"BEATDESK_DATA": "data:1", "PYTHONPATH": f".{os.pathsep}/lib/tasks", "PATH": "/bin"}
    prepare(environ)
    assert environ == {
        "BEATDESK_DATA": str(tmp_path / "data:1"),
        "PYTHONPATH": f"{tmp_path}{os.pathsep}/lib/tasks",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}/bin",
    }


def test_an_installation_keeps_its_data_with_the_data_of_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    prepare(environ)
    assert "BEATDESK_DATA" not in environ
    monkeypatch.setattr(server_module, "INSTALLED", True)
    prepare(environ)
    assert environ["BEATDESK_DATA"] == str(tmp_path / "beatdesk")
    assert (tmp_path / "beatdesk").stat().st_mode & 0o777 == 0o700


def test_pages_name_the_command_that_works_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.command("worker -Q slow") == "celery -A wsgi:celery worker -n beatdesk@%h -Q slow"
    assert installed.command("db upgrade") == "flask --app wsgi db upgrade"
    monkeypatch.setattr(installed, "INSTALLED", True)
    assert installed.command("worker -Q slow") == "beatdesk-server worker -Q slow"
