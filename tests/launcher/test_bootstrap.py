"""Set-up: a virtual environment by a lock file, once; an error is one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from webapp.launcher import bootstrap


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A folder of lock files; an empty one installs nothing, which needs no package index."""
    folder = tmp_path / "requirements"
    folder.mkdir()
    for name in ("base", "dev"):
        (folder / f"{name}.lock").write_text(f"# {name}\n")
    return folder


@pytest.mark.slow
def test_an_environment_is_made_once_and_brought_up_to_date_when_the_lock_changes(
    tmp_path: Path, requirements: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv = tmp_path / "venv"
    bootstrap.install("dev", venv=venv, requirements=requirements)
    assert "Installing the packages of requirements/dev.lock" in capsys.readouterr().err
    subprocess.run([venv / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)

    bootstrap.install("dev", venv=venv, requirements=requirements)
    bootstrap.install("base", venv=venv, requirements=requirements)  # the tests' environment contains it
    assert capsys.readouterr().err == ""

    (requirements / "dev.lock").write_text("# changed\n")
    bootstrap.install("dev", venv=venv, requirements=requirements)
    assert "Installing" in capsys.readouterr().err

    # A requirement without a hash is refused in one line, and tried again by the next call.
    (requirements / "dev.lock").write_text("./nowhere.whl\n")
    for _ in range(2):
        with pytest.raises(bootstrap.SetupError) as caught:
            bootstrap.install("dev", venv=venv, requirements=requirements)
        assert "could not be installed (ERROR:" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unknown_command_is_one_line() -> None:
    done = subprocess.run([sys.executable, bootstrap.__file__, "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Usage: bootstrap.py base|dev|programs\n"


def test_no_program_and_no_way_to_install_one_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap, "RABBITMQ", tmp_path / "rabbitmq-server")
    monkeypatch.setattr(bootstrap, "NGINX", tmp_path / "nginx")
    with pytest.raises(bootstrap.SetupError, match="not found: Chromium and RabbitMQ and nginx") as caught:
        bootstrap.ensure_programs()
    assert str(caught.value).endswith("apt-get install chromium rabbitmq-server nginx")
    assert "\n" not in str(caught.value)


def test_a_library_that_a_small_system_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "LIBATOMIC", "libatomic.so.nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(bootstrap.SetupError, match=r"libatomic.*apt-get install .*libatomic1$"):
        bootstrap.ensure_programs()


def test_installed_programs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, rabbitmq, nginx = (tmp_path / name for name in ("google-chrome", "rabbitmq-server", "nginx"))
    for program in (browser, rabbitmq, nginx):
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(bootstrap, "RABBITMQ", rabbitmq)
    monkeypatch.setattr(bootstrap, "NGINX", nginx)
    assert bootstrap.find_browser() == str(browser)
    assert bootstrap.find_rabbitmq() == str(rabbitmq)
    assert bootstrap.find_nginx() == str(nginx)
    bootstrap.ensure_programs()
