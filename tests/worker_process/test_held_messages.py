"""Messages that a worker holds longer than the broker expects: of long runs, and of those behind a rate limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask

from tests import processes
from tests.proxy import Proxy, proxy
from tests.rabbitmq import rabbitmq, url
from tests.servers import wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

TASKS = "tests.workers.held_tasks"
MODULES = f"{TASKS},tests.workers.short_visibility"


@dataclass
class Broker:
    """`way` is the way to RabbitMQ; with Redis there is none."""

    url: str
    way: Proxy | None = None

    def deliver_again(self) -> None:
        """RabbitMQ does when the connection is lost, Redis by itself after the visibility time-out."""
        if self.way is not None:
            self.way.cut()


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(
    request: pytest.FixtureRequest, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    if request.param == "redis":
        yield Broker(valkey_url)
        return
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as port, proxy(port) as way:
        yield Broker(url(way.port), way)


@pytest.fixture
def settings(settings: Settings, broker: Broker) -> Settings:
    import_module(TASKS)
    return settings.with_changes(broker_url=broker.url)


def states(ids: list[str]) -> Counter[str]:
    return Counter(fresh(Run, run_id).state for run_id in ids)


def check_the_worker_is_free() -> None:
    ids = [control.launch("add", [1, 1]).id for _ in range(4)]
    wait_for(lambda: states(ids) == {RunState.SUCCEEDED: 4}, seconds=20, message="the worker is held up")


def test_held_messages(context: Flask, settings: Settings, broker: Broker, tmp_path: Path) -> None:
    noted = [tmp_path / f"limited {number}" for number in range(4)]

    def once() -> int:
        """The number of limited runs that were executed, each once."""
        counts = [len(path.read_text().splitlines()) for path in noted if path.exists()]
        assert set(counts) <= {1}
        return len(counts)

    with processes.recorder(settings):
        with processes.worker(settings, "--concurrency", "2", TASK_MODULES=MODULES) as worker:
            limited = [control.launch("held.limited", [str(path)]).id for path in noted]
            wait_for(lambda: states(limited)[RunState.SUCCEEDED] == 1, seconds=20)
            check_the_worker_is_free()

            gate = tmp_path / "gate"
            long = control.launch("samples.wait", [str(gate)]).id
            wait_for(lambda: fresh(Run, long).state == RunState.STARTED, seconds=20)
            broker.deliver_again()
            refused = f"run {long} not started here: duplicate"
            wait_for(lambda: worker.output().count(refused) >= 1, seconds=20, message="no duplicate came")
            check_the_worker_is_free()
            gate.touch()
            wait_for(lambda: fresh(Run, long).state == RunState.SUCCEEDED, seconds=20)
            ended = fresh(Run, long)
            assert (ended.claims, ended.attempt, len(Path(f"{gate}.begun").read_text().splitlines())) == (1, 0, 1)

            waiting = [run_id for run_id in limited if fresh(Run, run_id).state == RunState.QUEUED]
            assert (len(waiting), once()) == (3, 1)
            wait_for(lambda: all(fresh(Run, run_id).claim_seen_at for run_id in waiting), seconds=20)
            assert {fresh(Run, run_id).claims for run_id in waiting} == {0}
        if broker.way is None:
            # What it gave back goes to another worker, which has a rate of its own.
            with processes.worker(settings, "--concurrency", "2", TASK_MODULES=MODULES, name="other"):
                wait_for(lambda: states(limited)[RunState.SUCCEEDED] == 2, seconds=20)
            assert once() == 2
