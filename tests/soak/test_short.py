"""The reliability tests in their short form. `make soak` runs the full one and prints the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.soak import work
from tests.soak.measure import failures
from tests.soak.scene import Scene, scene

pytestmark = pytest.mark.slow


@pytest.fixture
def on_sqlite(databases: servers.Databases, tmp_path: Path) -> Iterator[Scene]:
    with scene(databases.sqlite(), tmp_path / "scene") as made:
        yield made


def test_nothing_is_lost_when_servers_and_workers_go(on_sqlite: Scene) -> None:
    on_sqlite.recorder()
    on_sqlite.beat()
    few = work.Load(
        runs=120, each=0.02, workers=2, concurrency=1, valkey_kills=1, kill_every=1.0, worker_kills=1, skip_wait=True,
        drained=30,
    )  # fmt: skip
    measures = work.lost_work(on_sqlite, few)
    measures += work.self_killing(on_sqlite)
    measures += work.rolling_restart(on_sqlite, rounds=1, workers=1, concurrency=1, pace=15)
    assert failures(measures) == []
