"""`deploy/` names what exists: the processes, the program's commands, the files that the image is built from."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from webapp.config import Settings
from webapp.launcher.procfile import read_procfile
from webapp.launcher.server import server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
SERVERS = {"postgres", "valkey"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)


def test_each_process_of_the_procfile_is_a_service_that_the_program_can_run(services: dict[str, Any]) -> None:
    assert services.keys() - SERVERS == read_procfile(ROOT / "Procfile").keys()
    for name in services.keys() - SERVERS:
        assert services[name]["command"] == [name]
        assert server.get_command(click.Context(server), name) is not None
    assert instructions("ENTRYPOINT") == ['["beatdesk-server"]']
    assert instructions("CMD") == ['["run"]']


def test_processes_start_after_the_release_and_only_web_is_asked_for_pages(services: dict[str, Any]) -> None:
    ours = services.keys() - SERVERS - {"release"}
    assert {name for name in ours if "release" not in services[name]["depends_on"]} == set()
    assert {name for name in ours if not services[name]["healthcheck"].get("disable")} == {"web"}
    assert set(services["release"]["depends_on"]) == SERVERS


def test_the_environment_of_each_service_is_settings(services: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text()
    for name in services.keys() - SERVERS:
        given = {key: value for key, value in services[name]["environment"].items() if not value.startswith("${")}
        filled = {key: re.sub(r"\$\{\w+:[?-].*?\}", "x" * 16, value) for key, value in given.items()}
        assert Settings.from_env({**filled, "SECRET_KEY": "x" * 16}).redis_url == "redis://valkey:6379/0"
        assert [key for key in services[name]["environment"] if f"`{key}`" not in readme] == []


def test_the_example_has_every_variable_that_compose_reads() -> None:
    read = set(re.findall(r"\$\{(\w+):", (DEPLOY / "compose.yaml").read_text()))
    written = set(re.findall(r"^#?(\w+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    assert written == read


def test_the_image_runs_as_an_ordinary_user_and_is_checked_at_healthz() -> None:
    last = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    (user,) = re.findall(r"^USER (.+)$", last, re.MULTILINE)
    assert user == re.findall(r"useradd --uid (\d+)", last)[0] != "0"
    assert "/healthz" in last[last.index("HEALTHCHECK") :]
    assert len(instructions("FROM")) == 2


def test_the_image_is_built_from_what_the_distributions_contain() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert [name for name in kept if not (ROOT / name).exists()] == []
    contents = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(r'"([\w./-]+)"', contents.partition("only-include = [")[2].partition("]")[0])
    assert needed
    assert [name for name in needed if not any(fnmatch.fnmatch(name, f"{one}*") for one in kept)] == []
