"""R8 and R9: the database or Redis is down, or hangs, while people use the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa

from tests.people.test_registering import FIELDS
from tests.proxy import Proxy, proxy
from tests.scheduler.beats import RUNS, Rig
from tests.servers import wait_for
from tests.soak.mails import Moody
from tests.soak.measure import Measure
from tests.soak.scene import Scene, until, while_it_goes_on
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.identity.models import User
from webapp.run_store.states import RunState

READ = ("/queues", "/", "/runs", "/schedules", "/schedules/calendar", "/workers", "/people", "/mail", "/audit")
TABLES = ("celery_periodictask", "celery_intervalschedule", "celery_crontabschedule", "schedule_details")


@contextmanager
def way_to(url: str) -> Iterator[tuple[Proxy, str]]:
    """A way to a PostgreSQL database that can be closed, and the URL that goes by it."""
    parts = urlsplit(url)
    with proxy(f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432") as way:
        yield way, parts._replace(netloc=f"postgres@127.0.0.1:{way.port}", query="").geturl()


def database_away(scene: Scene, way: Proxy, rig: Rig, *, seconds: float) -> list[Measure]:
    """R8: the way to the database is closed, then silent. `rig` has a way of its own, and looks on."""
    scene.recorder()
    beat = scene.beat()
    scene.worker("--concurrency", "1")
    made = rig.interval("i", 1, saved=now())
    rig.crontab("nightly", "0 3 * * *", saved=now(), timezone="Europe/Berlin")
    wait_for(lambda: len(rig.runs(made)) >= 2, seconds=60, message="beat fired nothing")
    viewer = Visitor(scene.app, "viewer")
    before = _schedules(rig)
    measures: list[Measure] = []
    for how, close, bar in (("away", way.close, 3.0), ("silent", way.block, 5.0)):
        close()
        pages, slowest = _unavailable(viewer, seconds)
        way.open()
        opened = time.monotonic(), now()
        until(lambda since=opened[1]: _created_after(rig, since), 60)  # type: ignore[misc]
        resumed = time.monotonic() - opened[0]
        measures += [
            Measure(
                "R8",
                f"database {how} {seconds:g} s, {len(pages)} pages: not a clear 503",
                pages.count(False),
                "",
                "=",
                0,
            ),
            Measure("R8", "slowest of them", slowest, " s", "≤", bar),
            Measure("R8", "beat's process ended", int(beat.popen.poll() is not None), "", "=", 0),
            Measure("R8", "until beat fired again", resumed, " s", "≤", 5),
        ]
    changed = len(set(_schedules(rig)) ^ set(before))
    rig.execute("UPDATE celery_periodictask SET enabled = false")
    undone = while_it_goes_on(lambda: len(rig.runs(made)) - _ended(rig, made), 120)
    return [
        *measures,
        Measure("R8", f"of {len(rig.runs(made))} runs not executed, not shown as missed", undone, "", "=", 0),
        Measure("R8", "rows of schedules that are not as they were", changed, "", "=", 0),
    ]


def _unavailable(viewer: Visitor, seconds: float) -> tuple[list[bool], float]:
    """Look at pages for so long; returns whether each was a clear 503, and how long the slowest took."""
    clear: list[bool] = []
    slowest, until_then = 0.0, time.monotonic() + seconds
    while time.monotonic() < until_then:
        for path in ("/", "/runs", "/schedules"):
            begun = time.monotonic()
            answer = viewer.get(path)
            slowest = max(slowest, time.monotonic() - begun)
            clear.append(answer.status_code == 503 and "The database does not answer" in answer.text)
        # Look in now and then, as people do.
        time.sleep(0.5)
    return clear, slowest


def _created_after(rig: Rig, moment: datetime) -> bool:
    with rig.engine.connect() as connection:
        statement = sa.select(RUNS.c.id).where(RUNS.c.created_at > moment, RUNS.c.state != RunState.MISSED)
        return connection.execute(statement.limit(1)).first() is not None


def _ended(rig: Rig, schedule_id: int) -> int:
    ended = (RunState.SUCCEEDED, RunState.MISSED)
    return sum(run.state in ended for run in rig.runs(schedule_id))


def _schedules(rig: Rig) -> list[str]:
    """All that is written of schedules, without what beat counts there for the library."""
    found: list[str] = []
    with rig.engine.connect() as connection:
        for table in TABLES:
            row = "CAST(to_jsonb(t) - 'last_run_at' - 'total_run_count' AS text)"
            found += connection.execute(sa.text(f"SELECT '{table} ' || {row} FROM {table} t")).scalars()
    return found


def redis_away(scene: Scene, box: Moody, *, seconds: float) -> list[Measure]:
    """R9: Redis, which is the broker too, is killed and away for a while; people read, and register."""
    scene.worker("--concurrency", "1")
    admin, stranger = Visitor(scene.app, "admin"), Visitor(scene.app)
    (busy,) = scene.launch("soak.work", 1, str(scene.folder), seconds / 2)
    wait_for(lambda: scene.lines("begun"), seconds=60, message="no worker began a run")
    scene.valkey.kill()
    at = time.monotonic()
    noticed: float | None = None
    bad = registered = shown = 0
    slowest = 0.0
    while time.monotonic() - at < seconds:
        for path in READ:
            begun = time.monotonic()
            answer = admin.get(path)
            slowest = max(slowest, time.monotonic() - begun)
            shown += 1
            bad += answer.status_code != 200
            if noticed is None and path == "/queues" and "The broker does not answer" in answer.text:
                noticed = time.monotonic() - at
        fields = {**FIELDS, "email": f"person{registered}@example.com"}
        registered += stranger.post("/register", fields).status_code == 303
        time.sleep(0.5)
    scene.valkey.come_back()
    known = int(scene.one(sa.select(sa.func.count()).where(User.email.startswith("person"))))
    until(lambda: scene.run(busy).ended_at, 120)
    unwelcome = while_it_goes_on(lambda: registered - len(box.taken), 120)
    return [
        Measure("R9", f"Redis away for {seconds:g} s, {shown} pages: not 200", bad, "", "=", 0),
        Measure("R9", "slowest of them", slowest, " s"),
        Measure(
            "R9", "a run that ended meanwhile succeeded", int(scene.run(busy).state == RunState.SUCCEEDED), "", "=", 1
        ),
        Measure("R9", "and was begun", len(scene.lines("begun")), "", "=", 1),
        Measure("R9", "until the page said so", noticed if noticed is not None else seconds, " s", "≤", 5),
        Measure("R9", f"{registered} registered meanwhile: not there", registered - known, "", "=", 0),
        Measure("R9", "not welcomed by mail afterwards", unwelcome, "", "=", 0),
    ]
