"""celery-redbeat: schedules in Redis, beside the queues.

With its defaults an edit takes up to five minutes and a failover up to half an hour; it gets the waits that the
database schedulers have by default.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.schedules import schedule
from redbeat.decoder import RedBeatJSONEncoder, to_timestamp
from redbeat.schedulers import RedBeatSchedulerEntry, ensure_conf, get_redis

from bench.beats.peers.common import BROKER, Peer, in_process, make_app
from bench.beats.plan import TASK, Item

SCHEDULER = "redbeat.RedBeatScheduler"
MOST_WAIT = 5

app = make_app(
    redbeat_redis_url=BROKER,
    redbeat_redis_options={},
    beat_max_loop_interval=MOST_WAIT,
    redbeat_lock_timeout=MOST_WAIT * 5,
)


def fill(items: list[Item]) -> None:
    """Write the keys that saving each entry would write, in batches."""
    ensure_conf(app)
    client = get_redis(app)
    pipe = client.pipeline(transaction=False)
    for number, item in enumerate(items, 1):
        key = RedBeatSchedulerEntry.generate_key(app, item.name)
        definition = {
            "name": item.name,
            "task": TASK,
            "args": [item.name],
            "kwargs": {},
            "options": {"queue": item.queue},
            "schedule": schedule(timedelta(seconds=item.every)),
            "enabled": True,
        }
        pipe.hset(key, "definition", json.dumps(definition, cls=RedBeatJSONEncoder))
        pipe.hset(key, "meta", json.dumps({"last_run_at": item.last_run}, cls=RedBeatJSONEncoder))
        pipe.zadd(app.redbeat_conf.schedule_key, {key: to_timestamp(datetime.fromtimestamp(item.due, UTC))})
        if number % 1000 == 0:
            pipe.execute()
    pipe.execute()


def edit(name: str, every: float) -> None:
    """Give a schedule another interval."""
    ensure_conf(app)
    entry = RedBeatSchedulerEntry.from_key(RedBeatSchedulerEntry.generate_key(app, name), app=app)
    entry.schedule = schedule(timedelta(seconds=every))
    entry.save()


def applied(*_: Any) -> bool:
    """Saved is in force: it keeps nothing in memory, and finds it at its next tick."""
    return True


peer = Peer(start=lambda: in_process(app, SCHEDULER), fill=fill, edit=edit, applied=applied)
