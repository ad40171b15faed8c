"""sqlalchemy-celery-beat, on PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask, PeriodicTaskChanged
from sqlalchemy_celery_beat.session import SessionManager

from bench.beats.peers.common import DATABASE, Peer, by_schedule, in_process, make_app
from bench.beats.plan import TASK, Item

SCHEDULER = "sqlalchemy_celery_beat.schedulers:DatabaseScheduler"

app = make_app(beat_dburi=DATABASE)

_manager = SessionManager()
_engine, _session = _manager.create_session(DATABASE)
_executed = 0


@sa.event.listens_for(sa.Engine, "before_cursor_execute")
def _count(*_: Any) -> None:
    global _executed  # noqa: PLW0603 - a counter of the process
    _executed += 1


def statements() -> int:
    """How many SQL statements this process has executed."""
    return _executed


def fill(items: list[Item]) -> None:
    """Write the rows in bulk."""
    _manager.prepare_models(_engine)
    with _session() as session:
        rules = {
            every: IntervalSchedule(every=every, period=Period.SECONDS) for every in {item.every for item in items}
        }
        session.add_all(rules.values())
        session.flush()
        rows = [
            {
                "name": item.name,
                "task": TASK,
                "args": json.dumps([item.name]),
                "queue": item.queue,
                "enabled": True,
                "last_run_at": item.last_run,
                "total_run_count": 1,
                "discriminator": "intervalschedule",
                "schedule_id": rules[item.every].id,
            }
            for item in items
        ]
        session.execute(sa.insert(PeriodicTask), rows)
        PeriodicTaskChanged.update_from_session(session, commit=False)
        session.commit()


def edit(name: str, every: float) -> None:
    """Give a schedule another interval."""
    with _session() as session:
        rule = session.scalar(sa.select(IntervalSchedule).filter_by(every=every, period=Period.SECONDS).limit(1))
        if rule is None:
            rule = IntervalSchedule(every=every, period=Period.SECONDS)
            session.add(rule)
            session.flush()
        task = session.scalars(sa.select(PeriodicTask).filter_by(name=name)).one()
        task.schedule_model = rule
        session.commit()


peer = Peer(start=lambda: in_process(app, SCHEDULER), fill=fill, edit=edit, applied=by_schedule, statements=statements)
