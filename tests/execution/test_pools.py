"""A run goes from its launch to its recorded end on each of Celery's pools, also when Redis has been killed (R10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import servers
from tests.soak import pools
from tests.soak.scene import scene
from webapp.run_store.states import RunState

pytestmark = pytest.mark.slow


def test_runs_are_recorded_on_each_pool(databases: servers.Databases, tmp_path: Path) -> None:
    with scene(databases.sqlite(), tmp_path / "scene") as made:
        made.recorder()
        # A message that a worker has just taken when Redis is killed is lost with it, and sent again by beat.
        made.beat()
        # Within how many seconds is for a machine with nothing else to do: `make soak`.
        pools.restarted(made, times=1, patience=150)
        ended = [run for run in made.rows() if run.task == "add"]
    assert len(ended) == 2 * len(pools.POOLS)
    assert {(run.state, run.result, run.attempt, run.claims) for run in ended} == {(RunState.SUCCEEDED, "5", 0, 1)}
    assert all(run.sent_at and run.created_at <= run.started_at <= run.ended_at for run in ended)
