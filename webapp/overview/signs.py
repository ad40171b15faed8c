"""The problems that pages show. Each function checks for one problem and yields a `Sign` if there is one.

`overview.health` calls them. To add a problem, add a function to the signs of the part where it shows, and its key to
`KEYS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from webapp.database.engine import UtcDateTime, now
from webapp.extensions import db
from webapp.liveness import BEAT_TAKEOVER, FOREIGN_WORKER_GONE_AFTER, RECORDER_MAX_LAG
from webapp.messaging import broker
from webapp.messaging.installation import OtherInstallation
from webapp.overview.restored import restored
from webapp.overview.sign import Sign
from webapp.recorder import recorder
from webapp.run_store.models import Run
from webapp.run_store.observed_workers import last_event
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.schedule_store.beat_models import Beat, BeatLease, alive_beats
from webapp.schedule_store.rows import PROGRESS, TASKS
from webapp.schedule_store.status import Status, has_status
from webapp.task_catalogue.registry import registered_task
from webapp.web import installed
from webapp.web.formats import duration, plural
from webapp.web.hosts import current_settings
from webapp.web.transactions import database_clock
from webapp.worker_process import discards
from webapp.workers.waiting import MAX_COUNTED, Heartbeat, heartbeats, unconsumed

# A lost worker is shown for this long, unless a worker with its name is back.
LOST_WORKER_SHOWN = timedelta(minutes=10)
# The limit of counting broken and enabled schedules.
MAX_SCHEDULES_COUNTED = 1_000
MAX_NAMES = 3
# How many waiting runs are looked at for whose tasks they are of.
MAX_LOOKED_AT = 50

# Discarded messages are shown for this long after the last one.
DISCARDED_SHOWN = timedelta(hours=1)

WORKER_COMMAND = installed.command("worker")


@dataclass(frozen=True, slots=True)
class Rows:
    """The input of the database's signs; `now` is the database's clock."""

    now: datetime
    workers: Sequence[Heartbeat]


def database_signs() -> list[Sign]:
    """The problems that show in the database. Raises sqlalchemy.exc.SQLAlchemyError if it does not answer."""
    at = database_clock()
    rows = Rows(at, heartbeats(at))
    return [sign for find in DATABASE_SIGNS for sign in find(rows)]


def redis_signs() -> list[Sign]:
    """The problems that show in Redis. Raises redis.RedisError if it does not answer."""
    client = broker.client()
    try:
        client.ping()
    except OtherInstallation as error:
        return [
            Sign("redis", "Redis belongs to another installation.", str(error), check="belongs to another installation")
        ]
    return [sign for find in REDIS_SIGNS for sign in find(client)]


def broker_signs() -> list[Sign]:
    """Nothing, where the broker answers. Raises broker.BrokerAway."""
    broker.ping()
    return []


def _beat(rows: Rows) -> Iterator[Sign]:
    alive = alive_beats(db.session, rows.now)
    if any(beat.leading for beat in alive):
        return
    lease = db.session.execute(sa.select(BeatLease.holder, BeatLease.expires_at)).first()
    given_back = lease.expires_at if lease is not None and lease.holder is None else None
    if alive and given_back is not None and rows.now - given_back < BEAT_TAKEOVER:
        # The leader has stopped, and another beat is about to take over.
        return
    led = db.session.scalars(sa.select(Beat.seen_at).where(Beat.leading)).all()
    yield Sign(
        "beat",
        "A beat is running, but none is the leader." if alive else "No beat is running.",
        "Check the log of beat." if alive else "Start one:",
        since=max([*led, *([given_back] if given_back else [])], default=None),
        since_text="Schedules have not fired since",
        command="" if alive else installed.command("beat"),
        link=("/schedules", "Show schedules"),
        check="none is the leader",
    )


def _worker(rows: Rows) -> Iterator[Sign]:
    if any(worker.alive for worker in rows.workers):
        yield from _lost_workers(rows)
        return
    last = db.session.execute(sa.select(Worker.seen_at, Worker.stopped_at).order_by(Worker.seen_at.desc())).first()
    yield Sign(
        "worker",
        "No worker is running.",
        "Start one:",
        since=(last.stopped_at or last.seen_at) if last else None,
        since_text="The last one was seen at",
        command=WORKER_COMMAND,
        link=("/workers", "Show workers"),
        check="none is online",
    )


def _lost_workers(rows: Rows) -> Iterator[Sign]:
    """Workers that stopped responding without shutting down, while others are online."""
    known: set[str] = set()
    lost = []
    for worker in rows.workers:
        is_lost = worker.stopped_at is None and not worker.alive
        if is_lost and worker.name not in known and rows.now - worker.seen_at < LOST_WORKER_SHOWN:
            lost.append(worker)
        known.add(worker.name)
    if lost:
        one = len(lost) == 1
        yield Sign(
            "lost-worker",
            f"{'Worker' if one else 'Workers'} {_name_list(worker.name for worker in lost)} stopped responding.",
            "Its runs are taken over by other workers." if one else "Their runs are taken over by other workers.",
            severity="warning",
            since=max(worker.seen_at for worker in lost),
            since_text="Last heartbeat:",
            link=("/workers", "Show workers"),
        )


def _queues(rows: Rows) -> Iterator[Sign]:
    queues = unconsumed(rows.workers, rows.now)
    if not queues:
        return
    count = sum(queue.count for queue in queues)
    waiting = plural(count, "run") if count < MAX_COUNTED else f"{MAX_COUNTED:,} or more runs"
    last = max((queue.consumed_at for queue in queues if queue.consumed_at), default=None)
    names = [queue.queue for queue in queues]
    ours = _for_our_worker(names[:MAX_NAMES])
    start = "Start a worker that does:" if ours else "Start a worker of the project that has the tasks."
    yield Sign(
        "queue",
        f"No worker consumes the {'queue' if len(names) == 1 else 'queues'} {_name_list(names)}.",
        f"A worker last consumed {'it' if len(names) == 1 else 'one of them'} "
        f"{duration((rows.now - last).total_seconds() // 60 * 60)} ago. {start}"
        if last and rows.now - last >= timedelta(minutes=1)
        else start,
        severity="warning",
        since=queues[0].since,
        since_text=f"{waiting} {'waits' if count == 1 else 'wait'}, the oldest since",
        command=f"{WORKER_COMMAND} -Q {','.join(names[:MAX_NAMES])}" if ours else "",
        link=("/queues", "Show queues"),
    )


def _for_our_worker(queues: Sequence[str]) -> bool:
    """Whether what waits there can be executed by our worker, rather than by those of another project."""
    waiting = sa.select(Run.task).where(Run.state == RunState.QUEUED, Run.queue.in_(queues)).limit(MAX_LOOKED_AT)
    # Not `find_task`: a module of the project that cannot be imported would pass for a database that is away.
    return all(registered_task(name) is not None for name in set(db.session.scalars(waiting)))


def _observer(rows: Rows) -> Iterator[Sign]:
    """Workers of other projects are there, and no event of any of them was read for a minute."""
    if not current_settings().observe:
        return
    silent = rows.now - FOREIGN_WORKER_GONE_AFTER
    there = sa.select(sa.func.min(QueueConsumer.first_seen_at, type_=UtcDateTime()))
    since = db.session.scalar(there.where(~QueueConsumer.claims, QueueConsumer.seen_at > silent))
    last = last_event(db.session.connection())
    if since is not None and since < silent and (last is None or last < silent):
        yield Sign(
            "observer",
            "Task events of other projects’ workers are not read.",
            "What their workers run is not recorded. Start an observer:",
            severity="warning",
            since=last,
            since_text="The last event was read",
            command=installed.command("observer"),
            link=("/workers", "Show workers"),
        )


def _schedules(rows: Rows) -> Iterator[Sign]:
    broken = (
        sa.select(PROGRESS.c.broken_since.label("since"))
        .join(TASKS, TASKS.c.id == PROGRESS.c.schedule_id)
        .where(*has_status(Status.BROKEN, rows.now))
        .limit(MAX_SCHEDULES_COUNTED + 1)
        .subquery()
    )
    count, since = db.session.execute(sa.select(sa.func.count(), sa.func.min(broken.c.since)).select_from(broken)).one()
    if not count:
        return
    enabled = sa.select(TASKS.c.id).where(TASKS.c.enabled).limit(MAX_SCHEDULES_COUNTED + 1).subquery()
    total = db.session.execute(sa.select(sa.func.count()).select_from(enabled)).scalar_one()
    if count > MAX_SCHEDULES_COUNTED:
        many = f"More than {MAX_SCHEDULES_COUNTED:,} schedules"
    elif total > MAX_SCHEDULES_COUNTED:
        many = plural(count, "schedule")
    else:
        many = f"{count:,} of {plural(total, 'enabled schedule')}"
    yield Sign(
        "schedules",
        f"{many} cannot fire.",
        "Edit or disable them; each shows its reason.",
        severity="warning",
        since=since,
        since_text="First noticed:",
        link=("/schedules?status=broken", "Show broken schedules"),
    )


def _recorder(client: Any) -> Iterator[Sign]:
    lag = recorder.lag(client)
    oldest = (now() - timedelta(seconds=lag.seconds)).replace(microsecond=0) if lag.entries else None
    if not recorder.present(client):
        yield Sign(
            "recorder",
            "No recorder is running.",
            "Start one:",
            since=oldest or recorder.last_seen(client),
            since_text="State changes of runs have not been recorded since",
            command=installed.command("recorder"),
            link=("/runs", "Show runs"),
            check="none is online",
        )
    elif lag.seconds > RECORDER_MAX_LAG:
        yield Sign(
            "recorder",
            "The recorder is behind: pages show outdated states of runs.",
            f"{plural(lag.entries, 'state change')} not recorded yet. If the number grows, start another recorder:",
            since=oldest,
            since_text="The oldest unrecorded change is from",
            command=installed.command("recorder"),
            link=("/runs", "Show runs"),
            check=f"{lag.seconds:.0f} s behind",
        )


def _discarded(client: Any) -> Iterator[Sign]:
    found = discards.read(client)
    last_at = found[0].last_at if found else None
    if last_at is None or now() - last_at > DISCARDED_SHOWN:
        return
    latest = max(found, key=lambda each: each.count)
    what = f"task “{latest.task}”, queue “{latest.queue}”: {latest.reason}" if latest.task else latest.reason
    many = plural(sum(each.count for each in found), "message")
    yield Sign(
        "discarded",
        f"Beatdesk's workers discarded {many} that they could not execute.",
        f"The most frequent: {what}. Let only workers that know its tasks consume the queue.",
        severity="warning",
        since=last_at.replace(microsecond=0),
        since_text="The last one:",
        link=("/queues", "Show queues"),
    )


def _name_list(names: Iterable[str]) -> str:
    """The first few names, and the number of further ones."""
    given = list(names)
    shown = ", ".join(f"“{name}”" for name in given[:MAX_NAMES])
    return f"{shown} and {len(given) - MAX_NAMES} more" if len(given) > MAX_NAMES else shown


DATABASE_SIGNS: tuple[Callable[[Rows], Iterator[Sign]], ...] = (
    _beat,
    _worker,
    _queues,
    _observer,
    _schedules,
    lambda _rows: restored(),
)
REDIS_SIGNS: tuple[Callable[[Any], Iterator[Sign]], ...] = (_recorder, _discarded)

# The keys of all signs, for monitoring.
KEYS = (
    *("database", "redis", "broker", "beat", "recorder", "worker", "lost-worker", "queue", "observer"),
    *("schedules", "restored", "discarded"),
)
DOWN = "does not answer"
# The signs of parts that are down.
DOWN_SIGNS = {
    "database": Sign(
        "database",
        "The database does not answer.",
        "Pages cannot be loaded and schedules do not fire until it is back. Check the server of DATABASE_URL.",
        since_text="No answer since",
        check=DOWN,
    ),
    "redis": Sign(
        "redis",
        "Redis does not answer.",
        "Pages poll instead of updating live; workers write to the database directly. Check the server of REDIS_URL.",
        since_text="No answer since",
        check=DOWN,
    ),
    "broker": Sign(
        "broker",
        "The broker does not answer.",
        "Runs are stored and sent when it is back. Check the server of CELERY_BROKER_URL.",
        since_text="No answer since",
        link=("/queues", "Show queues"),
        check=DOWN,
    ),
}
