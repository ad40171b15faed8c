"""Everything that a message does, with RabbitMQ as the broker. One story: the server takes seconds to start."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests import processes
from tests.proxy import Proxy, proxy
from tests.rabbitmq import rabbitmq, url
from tests.scheduler.beats import Rig
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"


@pytest.fixture
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The way to the broker."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as port, proxy(port) as made:
        yield made


@pytest.fixture
def settings(settings: Settings, way: Proxy) -> Settings:
    import_module(SAMPLES)
    return settings.with_changes(broker_url=url(way.port), task_modules=(SAMPLES,))


@dataclass
class Story:
    """The servers and clients of the story."""

    operator: Visitor
    beats: Rig
    way: Proxy
    folder: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def busy(self) -> Callable[[], None]:
        """Keep the only worker busy until the returned function is called."""
        run = control.launch("samples.wait", [self.file("gate")])
        wait_for(lambda: fresh(Run, run.id).state == RunState.STARTED, seconds=20)

        def go_on() -> None:
            Path(self.file("gate")).touch()
            ended([run.id])
            Path(self.file("gate")).unlink()

        return go_on

    def noted(self, name: str, **options: Any) -> str:
        """The id of a run that adds a line to the file of that name."""
        return control.launch("samples.note", [self.file(name)], **options).id

    def lines(self) -> Counter[str]:
        """The number of executions by file."""
        return Counter({path.name: len(path.read_text().splitlines()) for path in self.folder.glob("n-*")})


def ended(ids: Sequence[str], state: RunState = RunState.SUCCEEDED, seconds: float = 20) -> list[Run]:
    """The runs, once they have all ended, as they should."""
    wait_for(lambda: all(fresh(Run, id_).ended for id_ in ids), seconds=seconds, message="they did not end")
    runs = [fresh(Run, id_) for id_ in ids]
    assert {run.state for run in runs} == {state}
    return runs


def test_runs_go_by_rabbitmq(context: Flask, beats: Rig, settings: Settings, way: Proxy, tmp_path: Path) -> None:
    folder = tmp_path / "effects"
    folder.mkdir()
    story = Story(Visitor(context, "operator"), beats, way, folder)
    with ExitStack() as stack:
        stack.enter_context(processes.recorder(settings))
        stack.enter_context(processes.running(processes.beat(settings, TASK_MODULES=SAMPLES)))
        stack.enter_context(processes.worker(settings, "--concurrency", "1", TASK_MODULES=SAMPLES))
        launched_and_scheduled(story)
        ordered_by_priority_and_counted(story)
        held_until_their_time(story)
        a_connection_that_was_cut_costs_nothing(story)
        nothing_is_lost_or_done_twice_in_an_outage(story)
        # Last: Celery may hand the next message to the process that is just being replaced, where it waits for beat.
        cancelled_before_and_while_they_run(story)


def launched_and_scheduled(story: Story) -> None:
    task_id = story.operator.post_json("/add-numbers/", {"num1": 2, "num2": 3}).get_json()["task_id"]
    (run,) = ended([task_id])
    assert (run.result, run.claims, run.sends) == ("5", 1, 1)
    made = story.beats.interval("every second", 1, saved=datetime.now(UTC), args="[20, 22]", headers='{"tenant": "a"}')
    wait_for(lambda: len(story.beats.runs(made, "succeeded")) >= 2, seconds=20)
    story.beats.execute("UPDATE celery_periodictask SET enabled = false")
    assert {(run.result, run.claims) for run in story.beats.runs(made, "succeeded")} == {("42", 1)}


def ordered_by_priority_and_counted(story: Story) -> None:
    go_on = story.busy()
    first, last = story.noted("n-low", priority=1), story.noted("n-high", priority=9)
    wait_for(
        lambda: broker.queue_depths(["unknown", "beatdesk", "none"]) == {"unknown": None, "beatdesk": 2, "none": None}
    )
    assert "beatdesk" in story.operator.get("/queues").text
    go_on()
    low, high = ended([first, last])
    assert high.started_at is not None
    assert low.started_at is not None
    assert high.started_at < low.started_at


def held_until_their_time(story: Story) -> None:
    eta = now() + timedelta(seconds=1)
    (run,) = ended([story.noted("n-held", eta=eta)])
    assert run.started_at is not None
    assert run.started_at >= eta


def cancelled_before_and_while_they_run(story: Story) -> None:
    story.busy()
    with_gate = next(run for run in story.beats.runs(state="started"))
    waiting = story.noted("n-cancelled")
    for id_ in (waiting, with_gate.id):
        assert story.operator.post(f"/runs/{id_}/cancel").status_code == 303
    ended([waiting, with_gate.id], RunState.REVOKED)
    assert "n-cancelled" not in story.lines()


def a_connection_that_was_cut_costs_nothing(story: Story) -> None:
    story.way.cut()
    sent = story.noted("n-cut")
    assert fresh(Run, sent).sent_at is not None
    ended([sent])


def nothing_is_lost_or_done_twice_in_an_outage(story: Story) -> None:
    go_on = story.busy()
    before = [story.noted(f"n-before-{number}") for number in range(3)]
    story.way.close()
    meanwhile = [story.noted(f"n-meanwhile-{number}") for number in range(3)]
    assert {fresh(Run, id_).sent_at for id_ in meanwhile} == {None}
    story.beats.add(
        "in the outage", "interval", {"every": 1, "period": "seconds"}, saved=datetime.now(UTC), task="samples.note",
        args=json.dumps([story.file("n-scheduled")]),
    )  # fmt: skip
    wait_for(lambda: len(story.beats.runs(state="queued")) >= 8, seconds=20)
    story.beats.execute("UPDATE celery_periodictask SET enabled = false")
    story.way.open()
    broker.breaker.reset()
    go_on()
    ended([*before, *meanwhile], seconds=40)
    wait_for(lambda: not story.beats.runs(state="queued"), seconds=20)
    scheduled = [run for run in story.beats.runs() if run.schedule_name == "in the outage"]
    ended([run.id for run in scheduled])
    counted = story.lines()
    assert counted.pop("n-scheduled") == len(scheduled)
    assert set(counted.values()) == {1}
