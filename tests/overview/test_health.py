"""Current problems and their start: read from rows and Redis, on both databases, and shown first on every page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask

from beatdesk.execution.events import STREAM
from tests.accounts.test_routes import address, routes
from tests.overview.test_readyz import everything_is_there
from tests.runs.making import make_run, make_runs
from tests.servers import wait_for
from tests.visitors import Visitor
from tests.workers.test_pages import make_worker
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.overview.sign import Sign
from webapp.recorder.recorder import Recorder
from webapp.run_store import observed_workers
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.schedule_store.beat_models import Beat, BeatLease, ScheduleProgress

pytestmark = pytest.mark.each_database

MINUTE = timedelta(minutes=1)


@pytest.fixture
def signs(context: Flask, redis: redis_client.Redis) -> Callable[[], dict[str, Sign]]:
    """Current problems, by key. At first every part answers."""
    everything_is_there(redis)

    def look() -> dict[str, Sign]:
        db.session.commit()
        monitor = context.extensions["health"]
        for part in monitor._parts:
            part.checked_at = float("-inf")
        return {sign.key: sign for sign in monitor.health(timeout=10.0).signs}

    return look


def about(sign: Sign, moment: datetime) -> bool:
    return sign.since is not None and abs(sign.since - moment) < timedelta(seconds=2)


def break_schedules(broken: int, fine: int, since: datetime | None) -> None:
    every = IntervalSchedule(every=1, period=Period.HOURS)
    db.session.add(every)
    db.session.flush()
    for number in range(broken + fine):
        row = PeriodicTask(name=f"s{number}", task="add", schedule_model=every, enabled=True)
        db.session.add(row)
        db.session.flush()
        values = {"broken": "no such task", "broken_since": since} if number < broken else {}
        db.session.execute(sa.insert(ScheduleProgress).values(schedule_id=row.id, **values))


def test_nothing_is_wrong_when_everything_is_there(signs: Callable[[], dict[str, Sign]]) -> None:
    make_run(RunState.QUEUED, age=3600)
    break_schedules(0, 2, None)
    assert signs() == {}


def test_beat_that_died_stopped_or_never_was(signs: Callable[[], dict[str, Sign]]) -> None:
    died = now() - 3 * MINUTE
    db.session.execute(sa.update(Beat).values(seen_at=died))
    found = signs()
    assert list(found) == ["beat"]
    assert about(found["beat"], died)
    assert (found["beat"].text, found["beat"].command) == ("No beat is running.", "celery -A wsgi:celery beat")
    # One that stops takes its row along and gives the lease back.
    stopped = now() - MINUTE
    db.session.execute(sa.delete(Beat))
    db.session.execute(sa.update(BeatLease).values(holder=None, expires_at=stopped))
    assert about(signs()["beat"], stopped)
    db.session.execute(sa.update(BeatLease).values(expires_at=None))
    assert signs()["beat"].since is None


def test_beat_that_stands_by_is_given_a_moment_to_take_over(signs: Callable[[], dict[str, Sign]]) -> None:
    db.session.execute(sa.update(Beat).values(leading=False, seen_at=now() + MINUTE))
    db.session.execute(sa.update(BeatLease).values(holder=None, expires_at=now()))
    assert signs() == {}
    db.session.execute(sa.update(BeatLease).values(expires_at=now() - MINUTE))
    assert signs()["beat"].text == "A beat is running, but none is the leader."


def test_worker_that_died_stopped_or_was_killed_beside_others(signs: Callable[[], dict[str, Sign]]) -> None:
    died = now() - timedelta(seconds=7)
    db.session.execute(sa.update(Worker).values(seen_at=died))
    found = signs()
    assert (list(found), about(found["worker"], died)) == (["worker"], True)
    stopped = now()
    db.session.execute(sa.update(Worker).values(seen_at=stopped, stopped_at=stopped))
    assert about(signs()["worker"], stopped)
    # Others are alive: who stopped is no news, who fell silent is.
    make_worker("w2")
    assert signs() == {}
    db.session.execute(sa.update(Worker).where(Worker.name == "w1").values(stopped_at=None, seen_at=died))
    found = signs()
    assert (list(found), about(found["lost-worker"], died)) == (["lost-worker"], True)
    assert "“w1”" in found["lost-worker"].text
    make_worker("w1", id="back")
    assert signs() == {}


def test_queues_in_which_runs_wait_and_that_no_worker_takes(
    signs: Callable[[], dict[str, Sign]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever else waits longer in queues that are consumed, and however much.
    make_runs(300, state=RunState.QUEUED, queue=DEFAULT_QUEUE, created_at=now() - timedelta(hours=2))
    oldest = now() - 10 * MINUTE
    make_run(RunState.QUEUED, queue="slow", created_at=now() - 30 * MINUTE, eta=oldest)
    make_run(RunState.QUEUED, queue="slow", created_at=now())
    make_run(RunState.HELD, queue="later", age=3600)
    make_run(RunState.SUCCEEDED, queue="ended", age=3600)
    make_worker("former", silent_for=3600, queues=json.dumps(["slow"]))
    found = signs()
    assert list(found) == ["queue"]
    sign = found["queue"]
    assert (sign.text, sign.since_text) == ("No worker consumes the queue “slow”.", "2 runs wait, the oldest since")
    assert about(sign, oldest)
    assert sign.action.startswith("A worker last consumed it 1 h ago.")
    assert sign.command == "celery -A wsgi:celery worker -n beatdesk@%h -Q slow"
    make_run(RunState.QUEUED, queue="slow", age=1800, task="shop.ship")
    sign = signs()["queue"]
    assert sign.action.endswith("Start a worker of the project that has the tasks.")
    assert sign.command == ""

    def broken() -> None:
        raise ImportError

    monkeypatch.setattr(celery.loader, "import_default_modules", broken)
    assert list(signs()) == ["queue"]
    make_worker("w2", queues=json.dumps(["slow"]))
    assert signs() == {}


def test_a_queue_that_another_projects_worker_takes_is_consumed(signs: Callable[[], dict[str, Sign]]) -> None:
    make_run(RunState.QUEUED, queue="theirs", age=3600)
    theirs = {"queue": "theirs", "node": "celery@h", "claims": False, "first_seen_at": now() - 10 * MINUTE}
    db.session.execute(sa.insert(QueueConsumer).values(**theirs, seen_at=now()))
    db.session.commit()
    assert "queue" not in signs()
    db.session.execute(sa.update(QueueConsumer).values(seen_at=now() - 5 * MINUTE))
    db.session.commit()
    assert signs()["queue"].action.startswith("A worker last consumed it 5 min ago.")


def test_workers_of_other_projects_whose_events_are_not_read(
    context: Flask, signs: Callable[[], dict[str, Sign]]
) -> None:
    theirs = {"queue": "theirs", "node": "celery@h", "claims": False, "first_seen_at": now() - 10 * MINUTE}
    db.session.execute(sa.insert(QueueConsumer).values(**theirs, seen_at=now()))
    db.session.commit()
    sign = signs()["observer"]
    assert (sign.severity, sign.command, sign.since) == ("warning", "flask --app wsgi observer run", None)
    seen = ("celery@h", 7, "py-celery 5.4.0", 0, now() - MINUTE, now(), None)
    observed_workers.keep_workers(db.session.connection(), [seen], now())
    db.session.commit()
    assert signs() == {}
    db.session.execute(sa.update(observed_workers.ObservedWorker).values(seen_at=now() - 5 * MINUTE))
    db.session.commit()
    assert about(signs()["observer"], now() - 5 * MINUTE)
    context.extensions["settings"] = context.extensions["settings"].with_changes(observe=False)
    assert signs() == {}


def test_runs_without_a_queue_wait_in_the_default_one(signs: Callable[[], dict[str, Sign]]) -> None:
    db.session.execute(sa.update(Worker).values(queues=json.dumps(["other"])))
    make_run(RunState.QUEUED, queue=None)
    make_run(RunState.QUEUED, queue=DEFAULT_QUEUE)
    assert signs()["queue"].since_text == "2 runs wait, the oldest since"


def test_schedules_that_cannot_fire(signs: Callable[[], dict[str, Sign]]) -> None:
    since = now() - 5 * MINUTE
    break_schedules(40, 4, since)
    sign = signs()["schedules"]
    assert (sign.text, sign.severity) == ("40 of 44 enabled schedules cannot fire.", "warning")
    assert about(sign, since)
    assert sign.link == ("/schedules?status=broken", "Show broken schedules")
    db.session.execute(sa.update(PeriodicTask).values(enabled=False))
    assert signs() == {}


def test_recorder_that_is_gone_or_behind(
    signs: Callable[[], dict[str, Sign]], context: Flask, redis: redis_client.Redis
) -> None:
    recorder = Recorder(db.engine, context.extensions["settings"].redis_url)
    recorder.step()
    assert signs() == {}
    written = now() - timedelta(seconds=90)
    redis.xadd(STREAM, {"run": "x"}, id=f"{int(written.timestamp() * 1000)}-0")
    found = signs()
    assert list(found) == ["recorder"]
    assert about(found["recorder"], written)
    assert found["recorder"].text.startswith("The recorder is behind")
    answer = context.test_client().get("/readyz")
    assert answer.status_code == 503
    assert re.fullmatch(r"9\d s behind", answer.get_json()["checks"]["recorder"])
    for key in redis.scan_iter("beatdesk:recorder:*"):
        redis.delete(key)
    sign = signs()["recorder"]
    assert (sign.text, about(sign, written)) == ("No recorder is running.", True)
    # What was read is recorded, and nothing waits: since it last asked for news.
    redis.xtrim(STREAM, maxlen=0)
    recorder.step()
    assert about(signs()["recorder"], now())


def test_every_page_shows_the_problem_first_and_in_its_title(
    signs: Callable[[], dict[str, Sign]], context: Flask
) -> None:
    admin, member = Visitor(context, "admin"), Visitor(context, "member")
    make_run(RunState.QUEUED, queue="<b>slow", age=700)
    db.session.execute(sa.update(Beat).values(seen_at=now() - MINUTE))
    assert list(signs()) == ["beat", "queue"]
    pages = 0
    for _, rule in routes(context, ("GET",)):
        answer = admin.get(address(rule))
        if 'id="content"' not in answer.text:
            continue
        main = answer.text.partition("<main")[2]
        assert "<title>(!) " in answer.text, rule
        assert "No beat is running." in main.partition("<h1")[0], rule
        assert "“&lt;b&gt;slow”" in main.partition("<h1")[0], rule
        pages += 1
    assert pages >= 25
    # Those who look after nothing see none of it.
    assert "No beat is running" not in member.get("/").text
    assert "No beat is running" not in context.test_client().get("/login").text
    assert member.get("/health").status_code == 403


def test_open_page_asks_for_the_same_part_and_programs_get_json(
    signs: Callable[[], dict[str, Sign]], context: Flask
) -> None:
    viewer = Visitor(context, "viewer")
    assert signs() == {}
    part = viewer.get("/health", htmx=True)
    assert part.text.strip() in viewer.get("/mail").text
    assert viewer.get("/health", htmx=True, headers={"HX-PTag": part.headers["HX-PTag"]}).status_code == 304
    db.session.execute(sa.update(Beat).values(seen_at=now() - MINUTE))
    signs()
    assert "No beat is running." in viewer.get("/health", htmx=True).text
    health = viewer.get("/health", accept="application/json").get_json()
    assert (health["ready"], health["checks"]["beat"]) == (False, "none is the leader")
    assert health["signs"][0]["key"] == "beat"
    assert datetime.fromisoformat(health["signs"][0]["since"]) < now()


def test_many_pages_at_once_look_once(signs: Callable[[], dict[str, Sign]], context: Flask) -> None:
    signs()
    viewer = Visitor(context, "viewer")
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    checked_at = [part.checked_at for part in context.extensions["health"]._parts]
    sa.event.listen(db.engine, "before_cursor_execute", note)
    began = time.monotonic()
    for _ in range(20):
        viewer.get("/account")
    looks = sum("beat_lease" in statement for statement in statements)
    assert looks <= time.monotonic() - began + 1
    wait_for(lambda: [part.checked_at for part in context.extensions["health"]._parts] != checked_at or not looks)
