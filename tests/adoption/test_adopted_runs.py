"""An adopted worker: what Beatdesk sent is executed once however often it comes, and all it executes is recorded."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa

from beatdesk.adopted.claims import OVER, WORKER_KEY, WORKERS_KEY
from beatdesk.execution.ids import id_of_task, new_id
from beatdesk.execution.message import SENDING_HEADER
from tests import servers
from tests.adoption.foreign import AdoptedShop
from tests.runs.making import make_run
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import ENDED, RunState
from webapp.run_store.worker_models import Worker

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> AdoptedShop:
    return AdoptedShop(settings.broker_url, tmp_path, settings.result_backend)


@pytest.fixture
def recorder(settings: Settings) -> Iterator[Recorder]:
    made = Recorder(db.engine, settings.redis_url)
    yield made
    made.redis.close()


def rows(statement: sa.Select[Any], recorder: Recorder) -> list[Any]:
    """What a statement gives once the recorder has recorded what there is. No transaction stays open."""
    while recorder.step():
        pass
    found = list(db.session.scalars(statement))
    db.session.expunge_all()
    db.session.rollback()
    return found


def recorded(recorder: Recorder, run_id: str) -> Run:
    """A run, once it has ended."""
    ended = sa.select(Run).where(Run.id == run_id, Run.state.in_(ENDED))
    found: list[Run] = wait_for(lambda: rows(ended, recorder), seconds=30, message=f"{run_id} did not end")
    return found[0]


def sent(shop: AdoptedShop, task: str, *args: str, times: int = 2) -> str:
    """A run of ours, whose message comes so often."""
    run_id = make_run(RunState.QUEUED, id=new_id(), task=task, queue="celery", sent_at=now(), sends=1)
    for _ in range(times):
        shop.send(task, *args, task_id=run_id)
    return run_id


def say_dead(redis: redis_client.Redis, run_id: str) -> None:
    """Have the holder of a claim be dead for longer than a process may be unnamed, as after half a minute."""
    key = f"beatdesk:claim:{run_id}:0:0"
    worker, process, late, number, _ = str(redis.get(key)).split()
    redis.set(key, f"{worker} {process} {late} {number} {int(time.time()) - 60}")
    redis.set(WORKER_KEY.format(worker_id=worker), '{"processes": ","}')


def test_what_comes_twice_is_executed_once_and_recorded(shop: AdoptedShop, recorder: Recorder) -> None:
    with shop.worker("--pool", "prefork", "--concurrency", "2"):
        kinds = ("write", "classy", "shared", "fails", "retries", "replaces", "canvas", "dies")
        ids = {kind: sent(shop, f"shop.{kind}", kind) for kind in kinds}
        for _ in range(2):
            shop.send("shop.write", "theirs", task_id="their id")
            wait_for(lambda: shop.executed()["theirs"], seconds=20)
        runs = {kind: recorded(recorder, run_id) for kind, run_id in ids.items()}
        theirs = recorded(recorder, id_of_task("their id"))
        wait_for(lambda: shop.executed()["canvas second"] and shop.executed()["joined canvas 0 canvas 1 canvas 2"])
        children = rows(sa.select(Run.id).where(Run.parent_id == ids["canvas"]), recorder)
        for child in children:
            recorded(recorder, child)
        repeated = sa.select(Run).where(Run.external_id == "their id", Run.state == RunState.SUCCEEDED)
        wait_for(lambda: len(rows(repeated, recorder)) == 2, seconds=20)
    failed = {kind: run.error for kind, run in runs.items() if run.state != RunState.SUCCEEDED}
    assert str(failed.pop("dies")).startswith("WorkerLostError")
    assert failed == {"fails": "ValueError: fails"}
    once = {*kinds} - {"retries", "canvas"} | {f"canvas {n}" for n in range(3)} | {f"retries {n}" for n in range(3)}
    once |= {"canvas first", "canvas second", "replaces replaced", "joined canvas 0 canvas 1 canvas 2"}
    assert shop.executed() == dict.fromkeys(once, 1) | {"theirs": 2}
    assert (runs["write"].result, runs["retries"].attempt, runs["write"].claims) == ('"write"', 2, 1)
    assert (runs["write"].worker, theirs.origin, theirs.args) == (theirs.worker, "program", '["theirs"]')
    assert rows(sa.select(RunLine.text).where(RunLine.run_id == ids["write"]), recorder) == ["wrote write"]
    assert len(children) == 4
    [worker] = rows(sa.select(Worker), recorder)
    assert (worker.kind, worker.pool, worker.concurrency) == ("adopted", "prefork", 2)
    # The result backend is theirs: what is in it is what Celery puts there.
    with shop.client() as app:
        assert app.AsyncResult(ids["write"]).result == "write"
        assert repr(app.AsyncResult(ids["fails"]).result) == "ValueError('fails')"


def test_greenlets_execute_once_too(shop: AdoptedShop, recorder: Recorder) -> None:
    """Threads and solo are the pools of the tests below."""
    with shop.worker("--pool", "gevent"):
        ids = [sent(shop, "shop.write", f"n {number}") for number in range(5)]
        assert {recorded(recorder, run_id).state for run_id in ids} == {RunState.SUCCEEDED}
    assert shop.executed() == {f"n {number}": 1 for number in range(5)}


def test_a_lost_worker_loses_only_what_is_acknowledged_late_to_another(
    shop: AdoptedShop, recorder: Recorder, redis: redis_client.Redis, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    with shop.worker("--pool", "threads", name="first") as first:
        late = sent(shop, "shop.waits", "late", gate, times=1)
        early = sent(shop, "shop.waits_early", "early", gate, times=1)
        wait_for(lambda: shop.executed().total() == 2, seconds=20)
        wait_for(lambda: len(started(recorder, late, early)) == 2, seconds=20)
        first.kill()
    for run_id in (late, early):
        say_dead(redis, run_id)
    Path(gate).touch()
    with shop.worker("--pool", "threads", name="second") as second:
        # The first worker's message comes back after the visibility time-out; ours is sent again by recovery.
        for run_id in (late, early):
            again(shop, run_id, "shop.waits" if run_id == late else "shop.waits_early", gate)
        assert recorded(recorder, late).state == RunState.SUCCEEDED
        wait_for(lambda: f"run {early} is not executed here: lost" in second.output(), seconds=20)
    assert shop.executed() == {"late": 2, "early": 1}


def again(shop: AdoptedShop, run_id: str, task: str, gate: str) -> None:
    """Send a message once more, as recovery does."""
    what = "late" if task == "shop.waits" else "early"
    shop.send(task, what, gate, task_id=run_id, headers={SENDING_HEADER: "again 0 0"})


def started(recorder: Recorder, *ids: str) -> list[Run]:
    """Those of these runs that have begun, as far as it is recorded."""
    return rows(sa.select(Run).where(Run.id.in_(ids), Run.state == RunState.STARTED), recorder)


def test_a_killed_process_of_a_pool_gives_its_message_to_the_next(
    shop: AdoptedShop, recorder: Recorder, redis: redis_client.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with shop.worker("--pool", "prefork", "--concurrency", "1"):
        run_id = sent(shop, "shop.waits_and_goes_back", "kept", str(gate), times=1)
        wait_for(lambda: shop.executed()["kept"] == 1, seconds=20)
        process = int(str(redis.get(f"beatdesk:claim:{run_id}:0:0")).split()[1])
        gate.touch()
        os.kill(process, signal.SIGKILL)
        run = recorded(recorder, run_id)
    assert (run.state, shop.executed()) == (RunState.SUCCEEDED, {"kept": 2})


def test_without_redis_a_first_sending_runs_and_a_second_one_waits(settings: Settings, tmp_path: Path) -> None:
    port = servers.free_port()
    folder = tmp_path / "own"
    folder.mkdir()
    with servers.valkey(folder, port) as url:
        shop = AdoptedShop(settings.broker_url, tmp_path, environ={"BEATDESK_REDIS_URL": url})
        worker = shop.worker("--pool", "solo")
        worker.__enter__()
    try:
        made = Recorder(db.engine, url)
        first = sent(shop, "shop.write", "first", times=1)
        wait_for(lambda: shop.executed()["first"] == 1, seconds=30)
        second = sent(shop, "shop.write", "marker", times=1)
        shop.send("shop.write", "first", task_id=first, headers={SENDING_HEADER: "again 0 0"})
        wait_for(lambda: shop.executed()["marker"] == 1, seconds=30)
        with servers.valkey(folder, port):
            assert {recorded(made, run_id).state for run_id in (first, second)} == {RunState.SUCCEEDED}
            assert made.redis.get(f"beatdesk:claim:{first}:0:0") == OVER
            made.redis.flushall()
            unknown = sent(shop, "shop.write", "unknown", times=0)
            wait_for(lambda: made.redis.smembers(WORKERS_KEY), seconds=20)
            shop.send("shop.write", "unknown", task_id=unknown, headers={SENDING_HEADER: "again 0 0"})
            run = recorded(made, unknown)
            assert (run.state, "may have lost" in str(run.reason)) == (RunState.UNCONFIRMED, True)
            made.redis.close()
        assert shop.executed() == {"first": 1, "marker": 1}
    finally:
        worker.__exit__(None, None, None)
