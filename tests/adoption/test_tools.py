"""A project's own tools while Beatdesk observes it: Flower, `celery inspect`, `control`, `events` and `multi`."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.adoption.environments import python_of
from tests.adoption.foreign import Shop
from tests.adoption.observers import observing, rows, shown
from tests.processes import ROOT, start_program
from tests.servers import free_port, wait_for
from webapp.config import Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]
# Flower's word for each state that is compared.
STATES = {"SUCCESS": "succeeded", "FAILURE": "failed"}
# The commands wait a second for any answers; for that of a worker they name, until it comes.
ASKED = f"--timeout 25 --destination celery@{socket.gethostname()}"


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    return settings.with_changes(broker_url=each_broker)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings.broker_url, tmp_path)


def celery_command(*arguments: str) -> list[str]:
    """A command in an environment that has Celery and Flower, and nothing of Beatdesk's."""
    return [str(python_of("flower")), "-m", "celery", *arguments]


@contextmanager
def program(shop: Shop, name: str, *arguments: str, **environment: str) -> Iterator[Path]:
    """A command on the project's app that goes on until the end of the block; its output so far is in a file."""
    log = shop.folder / f"{name}.log"
    with log.open("wb") as output:
        command = celery_command("-A", "tests.adoption.shop", *arguments)
        started = start_program(command, {**shop.environment(), "PYTHONUNBUFFERED": "1", **environment}, output)
    try:
        yield log
    finally:
        started.terminate()
        started.wait(15)


def outputs(shop: Shop, *commands: str) -> list[str]:
    """What these commands on the project's app print, all at once."""
    started = [
        subprocess.Popen(
            celery_command("-A", "tests.adoption.shop", *command.split()),
            env=shop.environment(),
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for command in commands
    ]
    done = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0] * len(commands), done
    return done


def page(address: str) -> str:
    """What Flower answers; nothing while it starts."""
    try:
        with urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return ""


def test_flower_and_celerys_own_commands(settings: Settings, shop: Shop, tmp_path: Path) -> None:
    flower = f"http://127.0.0.1:{free_port()}"
    options = ("--address=127.0.0.1", f"--port={flower.rpartition(':')[2]}")
    with ExitStack() as stack:
        worker = stack.enter_context(shop.worker("--pool", "threads"))
        stack.enter_context(observing(settings))
        with (
            program(shop, "flower", "flower", *options, FLOWER_UNAUTHENTICATED_API="true"),
            program(shop, "events", "events", "--dump") as dumped,
        ):
            wait_for(lambda: "Events of group {task} enabled by remote." in worker.output(), seconds=20)
            wait_for(lambda: "heartbeat" in dumped.read_text(), seconds=30)
            wait_for(lambda: "flower_worker_online{worker=" in page(f"{flower}/metrics"), seconds=30)
            sent = [shop.send("shop.note", f"n {number}") for number in range(5)] + [shop.send("shop.fails", "no")]
            sent.append(shop.send("shop.wait", "long", str(tmp_path / "gate")))
            wait_for(lambda: shop.executed()["long"] == 1, seconds=20)
            ping, registered, active, limited = outputs(
                shop,
                *(f"inspect {ASKED} {what}" for what in ("ping", "registered", "active")),
                f"control {ASKED} rate_limit shop.note 1000/m",
            )
            (tmp_path / "gate").touch()
            wait_for(lambda: all(id_ in rows() and rows()[id_].ended_at for id_ in sent), seconds=20)

            def tasks() -> dict[str, Any]:
                found: dict[str, Any] = json.loads(page(f"{flower}/api/tasks"))
                return found if all(found.get(id_, {}).get("state") in STATES for id_ in sent) else {}

            theirs = wait_for(tasks, seconds=20)
            workers = json.loads(page(f"{flower}/api/workers"))
            wait_for(lambda: all(id_ in dumped.read_text() for id_ in sent), seconds=20)
            ours = rows()
        # Events go on once the others have ended.
        last = shop.send("shop.note", "last")
        wait_for(lambda: last in rows() and rows()[last].ended_at, seconds=20)
        wait_for(lambda: workers.keys() == {row.node for row in shown()}, seconds=20)
    assert {id_: (task["name"], STATES[task["state"]]) for id_, task in theirs.items()} == {
        id_: (run.task, run.state) for id_, run in ours.items()
    }
    assert ("pong" in ping, "shop.private" in registered, sent[-1] in active) == (True, True, True)
    assert "new rate limit set successfully" in limited
    assert "New rate limit for tasks of type shop.note: 1000/m." in worker.output()


# One is enough: it starts and stops processes.
@pytest.mark.parametrize("each_broker", ["redis"], indirect=True)
def test_celery_multi_starts_and_stops_workers_that_are_observed(settings: Settings, shop: Shop) -> None:
    files = [f"--pidfile={shop.folder}/%n.pid", f"--logfile={shop.folder}/%n%I.log"]

    def multi(what: str) -> None:
        command = celery_command("multi", what, "east", "west", "-A", "tests.adoption.shop", "--pool=solo", *files)
        subprocess.run(command, env=shop.environment(), cwd=ROOT, check=True, capture_output=True, timeout=60)

    with observing(settings):
        multi("start")
        try:
            wait_for(lambda: {row.node.partition("@")[0] for row in shown()} == {"east", "west"}, seconds=30)
            sent = [shop.send("shop.note", f"n {number}") for number in range(4)]
            wait_for(lambda: all(id_ in rows() and rows()[id_].ended_at for id_ in sent), seconds=30)
        finally:
            multi("stopwait")
    assert not list(shop.folder.glob("*.pid"))
    assert {rows()[id_].worker.partition("@")[0] for id_ in sent} <= {"east", "west"}
