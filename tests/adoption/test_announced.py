"""An adopted project: its tasks are scheduled and launched with parameters, and what its clients send is seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as redis_client
from flask import Flask

from beatdesk import announcing
from beatdesk.execution.events import STREAM, Entry
from tests.adoption.foreign import Shop
from tests.processes import ROOT, Process, running, start_program
from tests.runs.making import record
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.task_catalogue.registry import find_task, forget_announced, rule_for

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]
MODULE = "tests.adoption.announcing_shop"


class Worker(Process):
    """The adopted project's own worker."""

    def __init__(self, shop: Shop, environment: dict[str, str]) -> None:
        self.name = "announcing"
        self.log = shop.folder / "announcing.log"
        command = [sys.executable, "-m", "celery", "-A", MODULE, "worker", "--pool", "solo", "-Q", "ships,celery"]
        with self.log.open("ab") as output:
            self.popen = start_program([*command, "--loglevel", "INFO"], environment, output)


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    return settings.with_changes(broker_url=each_broker)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings.broker_url, tmp_path)


@pytest.fixture
def environment(shop: Shop, settings: Settings) -> dict[str, str]:
    return {**shop.environment(), "BEATDESK_REDIS_URL": settings.redis_url}


@pytest.fixture
def worker(shop: Shop, environment: dict[str, str], redis: redis_client.Redis) -> Iterator[Process]:
    """The project's worker, once it has announced its tasks."""
    with running(Worker(shop, environment)) as process:
        wait_for(lambda: redis.xlen(announcing.STREAM) == 1, seconds=40, message="nothing was announced")
        yield process


@pytest.mark.usefixtures("worker")
def test_announced_tasks_are_launched_and_scheduled_with_parameters(
    beats: Rig, settings: Settings, context: Flask, shop: Shop, redis: redis_client.Redis
) -> None:
    time = FakeTime(datetime.now(UTC))
    core = beats.leading(time, redis_url=settings.redis_url)
    core.observer.max_answers = 1
    core.observer.look()
    assert redis.xlen(announcing.STREAM) == 0
    forget_announced()
    known = find_task("shop.ship")
    assert known is not None
    assert (list(known.signature.parameters), known.queue) == (["order", "by", "day", "iban"], "ships")
    assert rule_for("shop.ship").names == {"iban"}
    operator = Visitor(context, "operator")
    page = operator.get("/runs/new?task=shop.ship").text
    assert "Its number." in page
    assert "Queue ships · Time limit 5m" in page
    wrong = operator.post("/runs/new", {"task": "shop.ship", "mode": "fields", "arg.order": "x"})
    assert wrong.status_code == 422
    given = {"arg.order": "5", "arg.by": '"air"', "arg.day": "2027-10-30", "arg.iban": "DE89370400440532013000"}
    answer = operator.post("/runs/new", {"task": "shop.ship", "mode": "fields", **given})
    assert answer.status_code == 303
    run = fresh(Run, answer.location.rpartition("/")[2])
    assert "DE89" not in f"{run.args} {run.kwargs}"
    wait_for(lambda: shop.executed()["5 by air on 2027-10-30 22"] == 1, seconds=30)


def test_what_a_client_sends_is_queued_before_a_worker_receives_it(
    environment: dict[str, str], redis: redis_client.Redis
) -> None:
    subprocess.run([sys.executable, "-m", MODULE], env=environment, cwd=ROOT, check=True, timeout=60)
    entries = [Entry.parse(fields, str(entry_id)) for entry_id, fields in redis.xrange(STREAM)]
    record(*entries)
    [entry] = entries
    run = fresh(Run, entry.run_id)
    assert (run.state, run.task, run.queue, run.args) == (RunState.QUEUED, "shop.ship", "ships", "[7]")
    assert (run.origin, "DE89" in run.kwargs) == ("program", False)


def test_a_broker_without_redis_keeps_the_client_quick(
    environment: dict[str, str], settings: Settings, shop: Shop
) -> None:
    away = {**environment, "BEATDESK_REDIS_URL": "redis://127.0.0.1:1/0"}
    subprocess.run([sys.executable, "-m", MODULE], env=away, cwd=ROOT, check=True, timeout=60)
    with shop.client() as app, app.connection_for_read() as connection:
        queue = connection.SimpleQueue("ships")
        assert queue.get(timeout=10).headers["task"] == "shop.ship"
        queue.close()
