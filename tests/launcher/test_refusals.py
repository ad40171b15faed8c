"""An impossible start is refused with one line, and leaves no process running."""

import socket

import pytest

from tests.launcher.project import Project

pytestmark = pytest.mark.slow


def one_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


def test_a_busy_port_is_named_with_a_free_one(project: Project) -> None:
    with socket.create_server(("127.0.0.1", project.port)):
        line = one_line(project.fails())
    assert line.startswith(f"Port {project.port} is in use by another program.")
    assert "PORT=" in line


def test_a_data_folder_that_cannot_be_made_is_named(project: Project) -> None:
    (project.root / "file").write_text("")
    line = one_line(project.fails(BEATDESK_DATA=str(project.root / "file" / "data")))
    assert str(project.root / "file" / "data") in line
    assert "Set BEATDESK_DATA" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "none"),
        ("PORT", "70000"),
        ("TIMEZONE", "Mars/Olympus"),
        ("DATABASE_URL", "mysql://localhost/x"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("SECRET_KEY", "short"),
        ("MAIL_USERNAME", "me"),
        ("MAIL_DEFAULT_SENDER", "nobody"),
        ("HOST", "no-such-host.invalid"),
        ("WEB_CONCURRENCY", "0"),
        ("BEATDESK_PORT", "none"),
        ("BEATDESK_MAIL_USERNAME", "me"),
        ("BEATDESK_HOST", "no-such-host.invalid"),
    ],
)
def test_a_wrong_setting_is_named(project: Project, name: str, value: str) -> None:
    line = one_line(project.fails(**{name: value}))
    assert line.startswith(name)
    assert "Traceback" not in line


def test_failed_release_prints_its_reason(project: Project) -> None:
    project.write(
        "release: echo starting; echo 'app.Error: no such database'; echo '(more)'; exit 3\nweb: python web.py\n"
    )
    line = one_line(project.fails())
    assert "release ended with exit code 3: app.Error: no such database" in line
    assert str(project.data / "log" / "release.log") in line


def test_a_process_that_ends_before_all_is_ready_ends_the_start(project: Project) -> None:
    project.write("release: true\nweb: sleep 1000\nworker: sh -c 'echo worker.Error: no broker; exit 1'\n")
    line = one_line(project.fails())
    assert "worker ended with exit code 1: worker.Error: no broker" in line


def test_a_second_start_with_the_same_data_is_refused(project: Project) -> None:
    with project.running() as running:
        line = one_line(project.fails())
        assert "already running" in line
        assert str(running.launcher.pid) in line
        assert running.launcher.poll() is None
