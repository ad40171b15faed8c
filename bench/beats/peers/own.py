"""celery's own beat: schedules in the configuration, last runs in a shelve file."""

from __future__ import annotations

import os
import shelve
from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import __version__
from celery.beat import ScheduleEntry
from celery.schedules import schedule

from bench.beats.peers.common import FOLDER, Peer, in_process, make_app
from bench.beats.plan import TASK, Item, every_item, read

SCHEDULER = "celery.beat:PersistentScheduler"

app = make_app()


def _configured() -> dict[str, dict[str, Any]]:
    plan = Path(os.environ["BENCH_PLAN"])
    if not plan.exists():
        return {}
    return {
        item.name: {
            "task": TASK,
            "schedule": schedule(timedelta(seconds=item.every)),
            "args": [item.name],
            "options": {"queue": item.queue},
        }
        for item in every_item(read(plan))
    }


def fill(items: list[Item]) -> None:
    """Write the file that an earlier beat would have left, with the last runs in it."""
    entries = {
        item.name: ScheduleEntry(
            name=item.name,
            task=TASK,
            last_run_at=item.last_run,
            total_run_count=1,
            schedule=schedule(timedelta(seconds=item.every)),
            args=[item.name],
            options={"queue": item.queue},
            app=app,
        )
        for item in items
    }
    with shelve.open(str(FOLDER / "schedule")) as store:
        store.update({"entries": entries, "__version__": __version__, "tz": "UTC", "utc_enabled": True})


# In a beat as in the driver: it is part of what a start costs.
app.conf.beat_schedule = _configured()

peer = Peer(start=lambda: in_process(app, SCHEDULER), fill=fill)
