"""Redis comes back as it was some time ago: old messages are back, new ones are gone. Each run is executed once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis as redis_client
import sqlalchemy as sa

from tests import processes, servers
from tests.servers import wait_for
from tests.soak import tasks
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = [pytest.mark.slow, pytest.mark.each_database]


def executed(folder: Path) -> Counter[str]:
    ledger = folder / tasks.DONE
    return Counter(ledger.read_text().split()) if ledger.exists() else Counter()


def test_each_run_is_executed_once(database_url: str, tmp_path: Path) -> None:
    port, data = servers.free_port(), tmp_path / "valkey"
    url = f"redis://127.0.0.1:{port}/0"
    settings = servers.settings(database_url, url, data=tmp_path, task_modules=(tasks.__name__,))
    env = {"TASK_MODULES": tasks.__name__}
    with servers.valkey(data, port):
        before = launch(settings, tmp_path)
        with redis_client.Redis.from_url(url) as client:
            wait_for(lambda: client.llen("beatdesk") == len(before))
            client.save()
            folder = Path(client.config_get("dir")["dir"])
            snapshot = shutil.copy(folder / client.config_get("dbfilename")["dbfilename"], tmp_path / "copy.rdb")
            name = client.config_get("dbfilename")["dbfilename"]
        with processes.recorder(settings), processes.worker(settings, **env):
            wait_for(lambda: executed(tmp_path).total() == len(before), seconds=30)
            wait_for_ends(settings, before)
        after = launch(settings, tmp_path)
    shutil.copy(snapshot, folder / name)
    with servers.valkey(data, port), redis_client.Redis.from_url(url) as client:
        assert client.llen("beatdesk") == len(before)
        with (
            processes.recorder(settings),
            processes.running(processes.beat(settings, **env)),
            processes.worker(settings, **env),
        ):
            wait_for_ends(settings, after)
            wait_for(lambda: client.llen("beatdesk") == 0 and not client.exists("unacked"), seconds=30)
    assert executed(tmp_path) == Counter(before + after)


@contextmanager
def application(settings: Settings) -> Iterator[None]:
    """An application's context, of which nothing stays open."""
    with create_app(settings).app_context():
        try:
            yield
        finally:
            db.session.remove()
            db.engine.dispose()
            broker.client().close()


def launch(settings: Settings, folder: Path) -> list[str]:
    with application(settings):
        return [control.launch("soak.work", [str(folder)]).id for _ in range(5)]


def wait_for_ends(settings: Settings, ids: list[str]) -> None:
    ended = sa.select(sa.func.count()).where(Run.id.in_(ids), Run.state == RunState.SUCCEEDED)
    with application(settings):

        def all_ended() -> bool:
            with db.engine.connect() as connection:
                return connection.scalar(ended) == len(ids)

        wait_for(all_ended, seconds=90)
