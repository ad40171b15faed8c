"""Redis delivers again what a worker holds for too long: each worker only what it took itself."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests import processes
from tests.adoption.foreign import Shop
from tests.servers import wait_for
from webapp.config import Settings
from webapp.messaging import broker
from webapp.runs import control

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]
HELD = "tests.workers.held_tasks"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    import_module(HELD)
    return settings


def test_what_their_worker_has_in_hand_is_not_given_back_by_ours(settings: Settings, tmp_path: Path) -> None:
    shop = Shop(settings.broker_url, tmp_path)
    gates = [str(tmp_path / name) for name in ("theirs", "ours")]
    modules = f"{HELD},tests.workers.short_visibility"
    ours = processes.worker(settings, "--concurrency", "2", "-Q", "beatdesk", TASK_MODULES=modules)
    with shop.worker("--pool", "threads", "--concurrency", "1"), processes.recorder(settings), ours as worker:
        shop.send("shop.wait", "long", gates[0])
        wait_for(lambda: shop.executed()["long"] == 1, seconds=20)
        for number in range(3):
            shop.send("shop.note", f"in hand {number}")
        wait_for(lambda: broker.queue_depths(["celery"])["celery"] == 0, seconds=20)
        # Our own messages come again meanwhile, which shows that our worker looks for what is too old.
        run_id = control.launch("samples.wait", [gates[1]]).id
        refused = f"run {run_id} not started here: duplicate"
        wait_for(lambda: refused in worker.output(), seconds=20, message="no duplicate came")
        for gate in gates:
            Path(gate).touch()
        wait_for(lambda: shop.executed().total() >= 4, seconds=20)
        last = shop.send("shop.note", "last")
        wait_for(lambda: shop.executed()["last"] == 1, seconds=20)
    assert set(shop.executed().values()) == {1}, last
