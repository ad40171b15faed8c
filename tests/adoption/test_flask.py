"""Tasks of a Flask project run in the context of its own application, in our worker too."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from tests import processes
from tests.adoption.shapes import PACKAGES, SHAPES, Project
from tests.outages import NOWHERE
from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import db
from webapp.run_store.creation import create_run
from webapp.run_store.states import Origin
from webapp.runs import service

# The module that its own `celery -A` takes, which makes its Celery app, and the one with its tasks.
MODULES = f"{PACKAGES}.flask_shop.app,{PACKAGES}.flask_shop.tasks"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_its_tasks_have_its_settings_and_its_database(
    context: Flask, settings: Settings, tmp_path: Path, pool: str
) -> None:
    # Its own broker is away: what its tasks send in our worker goes by ours.
    project = Project(SHAPES["flask_shop"], "celery57", NOWHERE, NOWHERE, tmp_path / "shop")

    def rows() -> list[tuple[str, str]]:
        with closing(sqlite3.connect(project.folder / "shop.db", timeout=30)) as connection:
            return sorted(connection.execute("SELECT call, shop FROM executions"))

    env = {"TASK_MODULES": MODULES, "SHOP_FOLDER": str(project.folder), "SHOP_BROKER": NOWHERE}
    with processes.worker(settings, "--pool", pool, "--concurrency", "2", **env) as worker:
        run = create_run(db.session, "flask_shop.order", ["a"], origin=Origin.LAUNCH)
        db.session.commit()
        service.send_runs([run])
        # It retries itself once, then sends another task.
        wait_for(lambda: len(rows()) == 3, seconds=30)
        wait_for(lambda: worker.output().count(" succeeded in ") == 2, seconds=30)
    assert rows() == [(call, "Corner shop") for call in ("mail-a", "order0-a", "order1-a")]
