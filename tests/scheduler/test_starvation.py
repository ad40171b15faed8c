"""A schedule that cancels its other runs starts even if its queue takes longer than its period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from flask import Flask

from tests import processes
from tests.rabbitmq import rabbitmq, url
from tests.scheduler.beats import Rig
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.runs import control

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"
# Each keeps the only slot busy for so long; together far longer than the test waits.
BACKLOG, SECONDS = 60, 0.5


@pytest.fixture(params=["redis", "rabbitmq"])
def settings(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Settings]:
    import_module(SAMPLES)
    if request.param == "redis":
        yield settings
        return
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as port:
        yield settings.with_changes(broker_url=url(port))


def test_its_newest_run_begins(context: Flask, beats: Rig, settings: Settings, tmp_path: Path) -> None:
    gate, begun = tmp_path / "gate", tmp_path / "begun"
    with processes.worker(settings, "--concurrency", "1", TASK_MODULES=SAMPLES):
        control.launch("samples.wait", [str(gate)])
        for _ in range(BACKLOG):
            control.launch("samples.sleep", [SECONDS])
        made = beats.interval(
            "often",
            1,
            saved=now() - timedelta(seconds=1),
            task="samples.note",
            args=f'["{begun}"]',
            details={"overlap": "cancel other"},
        )
        core = beats.beat(redis_url=settings.redis_url)

        def revoked() -> bool:
            core.step()
            return len(beats.runs(made, "revoked")) >= 3

        def first() -> bool:
            core.step()
            return begun.exists()

        wait_for(revoked, message="it did not come due")
        assert not begun.exists()
        gate.touch()
        wait_for(first, seconds=BACKLOG * SECONDS / 3, message="it never began")
        runs = beats.runs(made)
    waiting = [run.due_at for run in runs if run.state == "queued"]
    assert len(waiting) <= 1
    # None began but the newest of those that waited.
    began = [run for run in runs if run.started_at is not None]
    assert began
    assert all(run.due_at >= began[0].due_at for run in runs if run.state not in ("revoked", "skipped"))
