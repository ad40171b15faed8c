"""Yesterday's backup comes back: beat repeats nothing of what happened since, and says what it held back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import servers
from tests.runs.making import make_run
from tests.scheduler.beats import Rig, rig
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.run_store.models import Run
from webapp.run_store.states import RESTORED, RunState
from webapp.schedule_store.models import SchedulePause
from webapp.scheduler import restored
from webapp.scheduler.clock import Clock
from webapp.scheduler.core import Core
from webapp.scheduler.leader import Lease

pytestmark = pytest.mark.each_database


@pytest.fixture
def back_up(
    context: Flask, beats: Rig, settings: Settings, databases: servers.Databases, tmp_path: Path
) -> Callable[[], str]:
    """Makes a backup of the database as it is; gives the URL of a database that is restored from it."""

    def made() -> str:
        url = settings.database_url
        if url.startswith("sqlite"):
            copy = tmp_path / "restored.db"
            with sqlite3.connect(urlsplit(url).path) as source, sqlite3.connect(copy) as target:
                source.backup(target)
            source.close()
            target.close()
            return f"sqlite:///{copy}"
        name, copied = url.rpartition("?")[0].rpartition("/")[2], f"restored{tmp_path.name[-20:].replace('-', '_')}"
        db.session.remove()
        db.engine.dispose()
        beats.engine.dispose()
        servers._execute(databases.postgres_url(), f"CREATE DATABASE {copied.lower()} TEMPLATE {name}")
        return servers.in_database(databases.postgres_url(), copied.lower())

    return made


def lead(core: Core, redis: redis_client.Redis) -> None:
    """Lead until Redis remembers it."""

    def remembered() -> bool:
        core.step(woken=True)
        known = restored._parsed(str(redis.get(restored.KEY))) if redis.exists(restored.KEY) else None
        return known is not None and known.token == core.lease.token

    wait_for(remembered, seconds=20, message="Redis does not remember the lease")


def test_nothing_is_repeated(
    context: Flask, beats: Rig, settings: Settings, redis: redis_client.Redis, back_up: Callable[[], str]
) -> None:
    first = beats.beat(redis_url=settings.redis_url)
    lead(first, redis)
    made = beats.interval("often", 1, saved=now(), details={"misfire": "run all"})
    wait_for(lambda: first.step(woken=True) is not None and len(beats.runs(made)) >= 2, seconds=20)
    waiting = make_run(RunState.QUEUED)
    mailing = make_run(RunState.QUEUED, task="mail.send_mail")
    with db.engine.begin() as connection:
        mail = {"key": "welcome:1", "kind": "welcome", "recipient": "a@example.com", "run_id": mailing}
        connection.execute(sa.insert(Mail).values(**mail, state=MailState.PENDING, created_at=now()))
    ended = make_run(RunState.SUCCEEDED)
    first.close()
    url = back_up()
    # Life goes on: another beat leads, fires, and all is executed.
    second = beats.beat(redis_url=settings.redis_url)
    lead(second, redis)
    fired = len(beats.runs(made))
    wait_for(lambda: second.step(woken=True) is not None and len(beats.runs(made)) > fired, seconds=20)
    second.close()
    redis.delete("beatdesk")
    with rig(url) as restored_rig:
        core = restored_rig.beat(redis_url=settings.redis_url)
        lead(core, redis)
        wait_for(lambda: core.step(woken=True) is not None and restored_rig.runs(made, "queued"), seconds=20)
        with restored_rig.engine.connect() as connection:
            runs = {row.id: row for row in connection.execute(sa.select(Run.__table__))}
            [mail_row] = connection.execute(sa.select(Mail.__table__))
            [pause] = connection.execute(sa.select(SchedulePause.__table__))
        assert (runs[waiting].state, runs[waiting].reason) == ("unconfirmed", RESTORED)
        assert (mail_row.state, mail_row.error) == ("in doubt", RESTORED)
        assert runs[ended].state == "succeeded"
        skipped = [run for run in runs.values() if run.state == "skipped"]
        assert skipped
        assert {run.pause_id for run in skipped} == {pause.id}
        # Only what came due after the restore was sent.
        sent = [run.due_at for run in runs.values() if run.state == "queued"]
        assert min(sent) > max(run.due_at for run in skipped)
        core.close()


def test_a_beat_that_goes_on_holds_nothing_back(
    context: Flask, beats: Rig, settings: Settings, redis: redis_client.Redis
) -> None:
    make_run(RunState.QUEUED)
    for _ in range(3):
        core = beats.beat(redis_url=settings.redis_url)
        lead(core, redis)
        core.close()
    redis.set(restored.KEY, "not JSON")
    core = beats.beat(redis_url=settings.redis_url)
    lead(core, redis)
    with beats.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(SchedulePause)) == 0
        assert connection.scalar(sa.select(sa.func.count()).where(Run.state == RunState.UNCONFIRMED)) == 0


def test_without_redis_nothing_is_raised_and_after_an_error_it_is_compared_again(
    context: Flask, beats: Rig, settings: Settings, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = make_run(RunState.QUEUED)
    lease = Lease("holder", Clock())
    away = restored.RestoreCheck(beats.engine, lease, f"redis://127.0.0.1:{servers.free_port()}/0")
    here = restored.RestoreCheck(beats.engine, lease, settings.redis_url)
    redis.set(restored.KEY, '{"token": 1000, "ends_at": null}')
    with beats.engine.begin() as connection:
        here.look(connection)
        assert lease.take(connection)
    away.remember()
    with monkeypatch.context() as patched:
        patched.setattr(restored, "hold", _away)
        with pytest.raises(sa.exc.OperationalError):
            here.compare()
    here.remember()
    with beats.engine.connect() as connection:
        assert connection.scalar(sa.select(Run.state).where(Run.id == waiting)) == "unconfirmed"
    assert restored._parsed(str(redis.get(restored.KEY))).token == lease.token


def _away(*_: object) -> int:
    raise sa.exc.OperationalError("UPDATE", {}, Exception("the database is away"))


@pytest.mark.parametrize(
    ("database", "redis_knows", "older"),
    [
        ((3, "2027-01-01T00:00:00+00:00"), (4, "2026-12-31T00:00:00+00:00"), True),
        ((5, "2027-01-01T00:00:00+00:00"), (4, "2027-01-02T00:00:00+00:00"), False),
        ((4, "2027-01-01T00:00:00+00:00"), (4, "2027-01-01T00:00:30+00:00"), True),
        ((4, "2027-01-01T00:00:00+00:00"), (4, "2027-01-01T00:00:03+00:00"), False),
    ],
)
def test_what_is_older(database: tuple[int, str], redis_knows: tuple[int, str], older: bool) -> None:
    one, other = (restored.Progress(token, datetime.fromisoformat(at)) for token, at in (database, redis_knows))
    assert one.older_than(other) is older
