"""`flask leave` in the database: what was there before stays as it was, and the library's own beat goes on with it."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner
from sqlalchemy.orm import Session

from tests.leaving import contents
from tests.leaving.conftest import Theirs
from tests.processes import end_group, environment, start_program
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.leaving import service, tables
from webapp.messaging.installation import KEY
from webapp.schedule_store import secret_arguments
from webapp.schedule_store.models import SchedulePause
from webapp.schedule_store.rows import DETAILS, TASKS


def left(runner: FlaskCliRunner, *options: str) -> dict[str, Any]:
    """What the command says it removed."""
    answer = runner.invoke(args=["leave", "--yes", "--json", *options])
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.output)
    return found


def insert_schedule(name: str, task: str, **values: Any) -> int:
    """A schedule that shares the rule of the schedule `often`; values for columns of its details begin with `own_`."""
    own = {key.removeprefix("own_"): values.pop(key) for key in list(values) if key.startswith("own_")}
    with db.engine.begin() as connection:
        like = connection.execute(sa.select(TASKS).where(TASKS.c.name == "often")).mappings().one()
        row = {**like, "id": None, "name": name, "task": task, **values}
        del row["id"]
        number: int = connection.execute(sa.insert(TASKS).values(row).returning(TASKS.c.id)).scalar_one()
        if own:
            connection.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == number).values(own))
    return number


def test_what_was_there_is_as_it_was(context: Flask, theirs: Theirs, runner: FlaskCliRunner) -> None:
    assert contents.of_database(theirs.url) != theirs.before
    found = left(runner)["database"]
    assert found["kept"] == 2
    assert found["home"] == theirs.schema
    assert contents.of_database(theirs.url) == theirs.before
    assert "Nothing of Beatdesk is left" in runner.invoke(args=["leave"]).output
    assert left(runner)["database"] is None


def test_listing_changes_nothing(context: Flask, theirs: Theirs, runner: FlaskCliRunner) -> None:
    before = contents.of_database(theirs.url)
    shown = runner.invoke(args=["leave"]).output
    assert "table runs: 0 rows" in shown
    assert "2 schedules are kept" in shown
    answer = runner.invoke(args=["leave", "--remove"], input="yes\n")
    assert (answer.exit_code, "Nothing was changed" in answer.output) == (1, True)
    assert contents.of_database(theirs.url) == before


def test_schedules_are_handed_over(context: Flask, theirs: Theirs, runner: FlaskCliRunner) -> None:
    end = (now() + timedelta(days=3)).replace(microsecond=0)
    insert_schedule("paused", "shop.note", own_paused_at=now() - timedelta(hours=1))
    insert_schedule("tagged", "shop.note", own_tags='["frozen"]', own_ends_at=end)
    insert_schedule("cleanup", "runs.retain")
    given = {"num1": 1, "password": "canary-1"}
    sealed = json.dumps(secret_arguments.sealed({"task": "add", "args": [], "kwargs": given})["kwargs"])
    assert "canary" not in sealed
    insert_schedule("secret", "add", args="[]", kwargs=sealed)
    with Session(db.engine) as session:
        session.add(SchedulePause(tags='["frozen"]', starts_at=now() - timedelta(hours=1)))
        session.commit()
    found = left(runner)["database"]
    assert (found["deleted"], found["disabled"], found["opened"]) == (["cleanup"], ["paused", "tagged"], ["secret"])
    rows = _library_rows(theirs)
    assert {name: row.enabled for name, row in rows.items()} == {
        "often": True, "nightly": True, "secret": True, "paused": False, "tagged": False,
    }  # fmt: skip
    assert json.loads(rows["secret"].kwargs) == given
    assert rows["tagged"].expires.replace(tzinfo=end.tzinfo) == end


def _library_rows(theirs: Theirs) -> dict[str, Any]:
    options = {"schema_translate_map": {tables.LIBRARY_SCHEMA: theirs.schema}}
    engine = sa.create_engine(theirs.url, execution_options=options)
    try:
        with engine.connect() as connection:
            return {row.name: row for row in connection.execute(sa.select(TASKS))}
    finally:
        engine.dispose()


def test_an_interruption_can_be_repeated(
    context: Flask, theirs: Theirs, runner: FlaskCliRunner, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.set(KEY, "of-the-tests")
    with monkeypatch.context() as patched:
        patched.setattr(tables, "_drop_own", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            service.remove(db.engine, context.extensions["celery"], context.extensions["settings"])
    assert redis.keys("*") == []
    assert left(runner)["database"]["kept"] == 2
    assert contents.of_database(theirs.url) == theirs.before


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_the_librarys_own_beat_fires_afterwards(
    theirs: Theirs, settings: Settings, runner: FlaskCliRunner, redis: redis_client.Redis, tmp_path: Path
) -> None:
    left(runner)
    env = environment(settings, STOCK_BROKER=settings.broker_url, STOCK_DATABASE=theirs.url)
    if theirs.schema:
        env["STOCK_SCHEMA"] = theirs.schema
    log = tmp_path / "stock.log"
    with log.open("wb") as output:
        beat = start_program([sys.executable, "-m", "celery", "-A", "tests.leaving.stock", "beat"], env, output)
    try:
        wait_for(lambda: redis.llen("celery") >= 2, seconds=40, message="it fired nothing")
    except AssertionError:
        sys.stderr.write(log.read_text())
        raise
    finally:
        end_group(beat)
    assert json.loads(str(redis.lindex("celery", 0)))["headers"]["task"] == "shop.note"
    assert "installation" not in str(contents.of_database(theirs.url).keys())
