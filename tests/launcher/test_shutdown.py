"""No process is left running, however the launcher is stopped."""

import signal

import psutil
import pytest

from tests.launcher.project import Project
from tests.servers import wait_for

pytestmark = pytest.mark.slow
STUBBORN = "release: true\nweb: python web.py\nworker: python stubborn.py\n"


def test_everything_runs_once_ready_is_printed(project: Project) -> None:
    with project.running() as running:
        assert running.ready_line.startswith(f"Beatdesk is ready: http://127.0.0.1:{project.port}  sign in as ")
        # The worker's shell and its two children; Valkey and the mailbox; the Procfile's other two.
        assert len(running.named("valkey-server")) == 1
        assert len(running.named("webapp.launcher.sink")) == 1
        wait_for(lambda: len(running.processes()) == 7)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_every_process_within_ten_seconds(project: Project, number: signal.Signals) -> None:
    with project.running() as running:
        processes = running.processes()
        assert running.stop(number) == 0
        assert [process for process in processes if _alive(process)] == []
        assert running.err.read_text().splitlines() == ["Stopping.", f"Stopped. The data stays in {project.data}."]
    assert not (project.data / "env.sh").exists()


def test_processes_that_do_not_end_when_asked_are_ended_by_force(project: Project) -> None:
    project.write(STUBBORN)
    with project.running() as running:
        wait_for(lambda: len(running.named("stubborn.py")) == 3)
        processes = running.processes()
        assert running.stop() == 0
        assert [process for process in processes if _alive(process)] == []
        assert "worker did not stop when asked and was killed." in running.err.read_text()


def test_a_second_signal_does_not_wait(project: Project) -> None:
    project.write(STUBBORN)
    with project.running() as running:
        processes = running.processes()
        running.launcher.send_signal(signal.SIGINT)
        wait_for(lambda: "Stopping" in running.err.read_text())
        running.launcher.send_signal(signal.SIGINT)
        assert running.launcher.wait(timeout=3) == 0
        assert [process for process in processes if _alive(process)] == []


def test_a_killed_launcher_takes_its_processes_along(project: Project) -> None:
    project.write("release: true\nweb: python web.py\nbeat: sleep 1000\n")
    with project.running() as running:
        wait_for(lambda: len(running.processes()) == 4)
        processes = running.processes()
        running.launcher.kill()
        running.launcher.wait()
        wait_for(lambda: not [process for process in processes if _alive(process)], message="a process was left")


def test_a_signal_during_the_start_ends_it(project: Project) -> None:
    project.write("release: touch begun && sleep 1000\nweb: python web.py\n")
    with project.starting() as running:
        wait_for((project.root / "begun").exists)
        processes = running.processes()
        assert running.stop() == 0
        assert [process for process in processes if _alive(process)] == []
        assert running.out.read_text() == ""


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
