"""Ours, on the database that DATABASE_URL names, with the settings of a deployment.

An edit here is the part of `webapp.schedules.service` that concerns beat: it writes the rows and wakes beat.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import redis
import sqlalchemy as sa
from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask

from bench.beats.peers.common import BROKER, DATABASE, Peer, in_process
from bench.beats.plan import TASK, Item
from webapp.database.engine import create_engine
from webapp.messaging.beat_wakeup import CHANNEL
from webapp.schedule_store.models import ScheduleDetail
from wsgi import celery as app

SCHEDULER = "webapp.scheduler.beat:Scheduler"
AT_ONCE = 500

_engine = create_engine(DATABASE)
_redis = redis.Redis.from_url(BROKER)
_tasks, _rules = PeriodicTask.__table__, IntervalSchedule.__table__
_executed = 0


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def _count(*_: Any) -> None:
    global _executed  # noqa: PLW0603 - a counter of the process
    _executed += 1


def statements() -> int:
    """How many SQL statements this process has executed."""
    return _executed


def fill(items: list[Item]) -> None:
    """Write the rows in bulk. The triggers make their details, which get the beginning of each grid."""
    with _engine.begin() as connection:
        rules = {every: _rule(connection, every) for every in {item.every for item in items}}
        rows = [
            {
                "name": item.name,
                "task": TASK,
                "args": json.dumps([item.name]),
                "queue": item.queue,
                "enabled": True,
                "discriminator": "intervalschedule",
                "schedule_id": rules[item.every],
            }
            for item in items
        ]
        connection.execute(sa.insert(_tasks), rows)
        ids = {row.name: row.id for row in connection.execute(sa.select(_tasks.c.name, _tasks.c.id))}
        _begin_grids(connection, [(ids[item.name], item.last_run) for item in items])


def _begin_grids(connection: sa.Connection, anchors: list[tuple[int, datetime]]) -> None:
    by_anchor: dict[datetime, list[int]] = defaultdict(list)
    for key, anchor in anchors:
        by_anchor[anchor].append(key)
    single = [{"key": keys[0], "anchor": anchor} for anchor, keys in by_anchor.items() if len(keys) == 1]
    column = ScheduleDetail.schedule_id
    if single:
        connection.execute(sa.update(ScheduleDetail).where(column == sa.bindparam("key")), single)
    for anchor, keys in by_anchor.items():
        for chunk in _chunks(keys) if len(keys) > 1 else ():
            connection.execute(sa.update(ScheduleDetail).where(column.in_(chunk)).values(anchor=anchor))


def _chunks(keys: list[int]) -> Iterator[list[int]]:
    return (keys[begin : begin + AT_ONCE] for begin in range(0, len(keys), AT_ONCE))


def _rule(connection: sa.Connection, every: float) -> int:
    """The interval's row, made if there is none. Below a second it is written in microseconds."""
    values: dict[str, Any] = (
        {"every": int(every), "period": Period.SECONDS}
        if every >= 1
        else {"every": round(every * 1e6), "period": Period.MICROSECONDS}
    )
    found = connection.scalar(sa.select(_rules.c.id).filter_by(**values).limit(1))
    return int(found or connection.scalar(sa.insert(_rules).values(**values).returning(_rules.c.id)))


def edit(name: str, every: float) -> None:
    """Give a schedule another interval, and say so."""
    with _engine.begin() as connection:
        rule = _rule(connection, every)
        connection.execute(sa.update(_tasks).where(_tasks.c.name == name).values(schedule_id=rule))
    _redis.publish(CHANNEL, "look")


def first(scheduler: Any) -> None:
    """Step until it leads with everything loaded."""
    core = scheduler.core
    give_up = time.monotonic() + 60
    while not (core.lease.held and core.schedules.loaded):
        if time.monotonic() > give_up:
            raise TimeoutError("our beat did not come to lead")
        core.step(True)
    core.step()


def settle(scheduler: Any) -> None:
    """Note the next due time of each schedule that it has never seen: a thousand at a look, right after a bulk load."""
    give_up = time.monotonic() + 120
    while scheduler.core.schedules.notes:
        if time.monotonic() > give_up:
            raise TimeoutError("our beat did not note every next due time")
        scheduler.core.step(True)


def step(scheduler: Any) -> float:
    """A tick without its wait, woken by any announcement."""
    core = scheduler.core
    return float(core.step(core.listener.wait(0.0)))


_keys: dict[str, int] = {}


def applied(scheduler: Any, name: str, every: float) -> bool:
    """Whether the scheduler's memory holds that interval for that schedule."""
    if not _keys:
        _keys.update((entry.name, key) for key, entry in scheduler.schedule.items())
    entry = scheduler.schedule.get(_keys.get(name, 0))
    return entry is not None and entry.recurrence.rule.every == every


peer = Peer(
    start=lambda: in_process(app, SCHEDULER),
    fill=fill,
    first=first,
    settle=settle,
    step=step,
    edit=edit,
    applied=applied,
    statements=statements,
)
