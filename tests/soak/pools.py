"""R10: Valkey is killed and started again under workers of each pool."""

from __future__ import annotations

import time
from collections import defaultdict

from tests.servers import wait_for
from tests.soak.measure import Measure
from tests.soak.scene import Scene, until
from webapp.run_store.states import RunState

POOLS = ("prefork", "threads", "solo", "gevent", "eventlet")
BAR = 10.0


def restarted(scene: Scene, *, times: int, patience: float = 60) -> list[Measure]:
    """A worker of each pool, each with a queue of its own; after each restart of Valkey each is given a run.

    `patience` is for how many seconds each run is waited for.
    """
    for pool in POOLS:
        scene.worker("--pool", pool, "--concurrency", "2", "--queues", pool, ready=False)
    for worker in scene.workers:
        wait_for(lambda chosen=worker: scene.alive(chosen), seconds=60, message=f"{worker.name} is not ready")  # type: ignore[misc]
    _next_tasks(scene, 60)
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(times):
        scene.valkey.kill()
        scene.valkey.come_back()
        for pool, seconds in _next_tasks(scene, patience).items():
            took[pool].append(seconds)
    return [
        Measure("R10", f"{pool}: of {times} restarts the next task within {BAR:g} s", good, "", "=", times)
        for pool in POOLS
        for good in [sum(seconds <= BAR for seconds in took[pool])]
    ] + [Measure("R10", "longest", max(max(seconds) for seconds in took.values()), " s")]


def _next_tasks(scene: Scene, patience: float) -> dict[str, float]:
    """Give each pool a run; returns the seconds that each took, at most so many."""
    begun = time.monotonic()
    waiting = {pool: scene.launch("add", 1, 2, 3, queue=pool)[0] for pool in POOLS}
    took = dict.fromkeys(POOLS, float("inf"))

    def all_done() -> bool:
        for pool, run_id in list(waiting.items()):
            if scene.run(run_id).state == RunState.SUCCEEDED:
                took[pool] = time.monotonic() - begun
                del waiting[pool]
        return not waiting

    until(all_done, patience)
    return took
