"""R1, R11 and R12: the ends of runs when servers and workers are killed under load."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import update

from tests.processes import Process
from tests.soak.measure import Measure
from tests.soak.scene import Scene, until, while_it_goes_on
from webapp.database.engine import now
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import Worker

BATCH = 100


@dataclass(frozen=True)
class Load:
    """The load on the workers, and the number of kills."""

    runs: int
    each: float  # seconds of a run
    workers: int
    concurrency: int
    valkey_kills: int
    kill_every: float  # seconds between two kills of a worker
    worker_kills: int
    drained: float = 120.0
    # Pass the time after which a silent worker counts as lost by setting its last sign of life back.
    skip_wait: bool = False


def lost_work(scene: Scene, load: Load) -> list[Measure]:
    """R1: Valkey is killed and started again, a worker is killed and replaced every few seconds.

    A run may be begun again only if the worker that had begun it was killed. Its effect is its last line. Each kill
    hits one run in its middle, and perhaps others of the same worker right between that line and reporting that it is
    done: those have their effect twice, unless they ask first whether they had it, as mails do.
    """
    options = ("--concurrency", str(load.concurrency))
    for _ in range(load.workers):
        scene.worker(*options)
    ids: list[str] = []
    begun = time.monotonic()
    valkey_kills = worker_kills = 0
    while len(ids) < load.runs or worker_kills < load.worker_kills or valkey_kills < load.valkey_kills:
        if len(ids) < load.runs:
            ids += scene.launch("soak.work", min(BATCH, load.runs - len(ids)), str(scene.folder), load.each)
        progress = len(ids) / load.runs
        if valkey_kills < load.valkey_kills and progress >= (valkey_kills + 1) / (load.valkey_kills + 1):
            valkey_kills += 1
            scene.valkey.kill()
            scene.valkey.come_back()
        if worker_kills < load.worker_kills and time.monotonic() - begun >= (worker_kills + 1) * load.kill_every:
            worker_kills += 1
            ids += _kill_a_busy_one(scene, load)
            scene.worker(*options, ready=False)
        time.sleep(0.05)
    if load.skip_wait:
        _set_back(scene)
    ended, left = time.monotonic(), scene.unended("soak.work")
    stuck = while_it_goes_on(lambda: scene.unended("soak.work"), load.drained)
    drained = time.monotonic() - ended - (load.drained if stuck else 0.0)
    kills = f"{len(ids)} runs, Valkey killed {valkey_kills}×, a worker {worker_kills}×"
    return [
        Measure("R1", f"{kills}: lost{_states(scene)}", len(ids) - _succeeded(scene, ids), "", "=", 0),
        *_executions("R1", scene, ids, worker_kills, load.concurrency),
        Measure("R1", "drained after the last kill", drained, " s", "≤", load.drained),
        Measure("R1", "ended in each second of that", (left - stuck) / max(drained, 0.1)),
    ]


def _states(scene: Scene) -> str:
    """The states of the runs that did not succeed, as text."""
    found = Counter(run.state for run in scene.rows() if run.state != RunState.SUCCEEDED)
    return f" ({', '.join(f'{many} {state}' for state, many in found.items())})" if found else ""


def _kill_a_busy_one(scene: Scene, load: Load) -> list[str]:
    """Give the workers something long, and kill the first that has begun it; returns the IDs of these runs."""
    long = scene.launch("soak.work", load.workers, str(scene.folder), 10 * load.each + 2)
    by_name = {worker.name: worker for worker in scene.workers}

    def busy() -> list[Process]:
        begun = [worker.partition("@")[0] for run_id, worker in scene.lines("begun") if run_id in long]
        return [by_name[name] for name in begun if name in by_name]

    if until(busy, 60):
        scene.kill(busy()[0])
    return long


def _set_back(scene: Scene) -> None:
    past = now() - timedelta(minutes=1)
    gone = [f"{name}@" for name in scene.killed]
    with scene.engine.begin() as connection:
        for name in gone:
            connection.execute(update(Worker).where(Worker.name.startswith(name)).values(seen_at=past))
            connection.execute(
                update(Run).where(Run.worker.startswith(name), Run.state == RunState.STARTED).values(claim_seen_at=past)
            )


def _succeeded(scene: Scene, ids: list[str]) -> int:
    task = scene.run(ids[0]).task
    return scene.count(Run.task == task, Run.state == RunState.SUCCEEDED) if ids else 0


def _executions(test: str, scene: Scene, ids: list[str], kills: int, concurrency: int) -> list[Measure]:
    chosen = set(ids)
    begun: dict[str, list[str]] = {}
    for run_id, worker in scene.lines("begun"):
        if run_id in chosen:
            begun.setdefault(run_id, []).append(worker.partition("@")[0])
    again = [workers for workers in begun.values() if len(workers) > 1]
    uncalled_for = sum(worker not in scene.killed for workers in again for worker in workers[:-1])
    effects = Counter(words[0] for words in scene.lines("done") if words[0] in chosen)
    twice = sum(count > 1 for count in effects.values())
    return [
        Measure(test, "begun again although the worker lived", uncalled_for, "", "=", 0),
        Measure(
            test, "begun again since the worker was killed", len(again) - uncalled_for, "", "≤", kills * concurrency
        ),
        Measure(test, "had their effect twice", twice, "", "≤", kills * (concurrency - 1)),
    ]


def self_killing(scene: Scene) -> list[Measure]:
    """R11: a task kills the process that executes it."""
    if not scene.workers:
        scene.worker("--concurrency", "2")
    (run_id,) = scene.launch("soak.die", 1, str(scene.folder))
    ended = until(lambda: scene.run(run_id).state == RunState.FAILED, 60)
    times = sum(words[0] == run_id for words in scene.lines("begun"))
    return [
        Measure("R11", "a task that kills its process, max_retries 2: begun", times, "", "≤", 3),
        Measure("R11", "it ends as failed", int(ended), "", "=", 1),
    ]


def rolling_restart(scene: Scene, *, rounds: int, workers: int, concurrency: int, pace: int) -> list[Measure]:
    """R12: all workers get SIGTERM one after the other, under load; each is replaced when it has ended."""
    options = ("--concurrency", str(concurrency))
    while len(scene.workers) < workers:
        scene.worker(*options)
    ids: list[str] = []
    for _ in range(rounds):
        for old in scene.workers[:workers]:
            ids += scene.launch("soak.work", pace, str(scene.folder), 0.05)
            _replace(scene, old, options)
    while_it_goes_on(lambda: scene.unended("soak.work"), 120)
    ended = scene.count(Run.task == "soak.work", Run.state == RunState.SUCCEEDED, Run.id.in_(ids))
    return [
        Measure(
            "R12", f"{len(ids)} runs, {rounds * workers} workers ended by SIGTERM: lost", len(ids) - ended, "", "=", 0
        ),
        *(measure for measure in _executions("R12", scene, ids, 0, 1) if "killed" not in measure.what),
    ]


def _replace(scene: Scene, old: Process, options: tuple[str, ...]) -> None:
    scene.worker(*options)
    old.popen.terminate()
    try:
        old.popen.wait(60)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{old.name} does not end:\n{old.stacks()}") from error
    scene.workers.remove(old)
