"""Whether all that a run needs is there: database, Redis, broker, a leading beat, a recorder that keeps up, workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from flask import Flask

from webapp import broker
from webapp.database import now, read_only
from webapp.extensions import db
from webapp.runs import recorder
from webapp.scheduler.models import Beat
from webapp.workers.models import Worker
from webapp.workers.presence import GONE_AFTER

logger = logging.getLogger(__name__)

# Seconds for all checks together; they are made side by side.
PATIENCE = 3.0
# A beat renews its row at least every second or two.
BEAT_GONE_AFTER = 10.0
# Seconds that a state change may wait to be recorded.
MAX_RECORDER_LAG = 30.0

OK = "ok"
SILENT = "does not answer"
UNKNOWN = "cannot be known"

CHECKS = ("database", "redis", "broker", "beat", "recorder", "worker")


def checks(app: Flask) -> dict[str, str]:
    """For each part "ok", or what is wrong in a few words, within about `PATIENCE` seconds."""
    groups: list[tuple[tuple[str, ...], Callable[[], dict[str, str]]]] = [
        (("database", "beat", "worker"), _database),
        (("redis", "recorder"), _redis),
        (("broker",), _broker),
    ]
    found = {name: SILENT if name in ("database", "redis", "broker") else UNKNOWN for name in CHECKS}
    pool = ThreadPoolExecutor(len(groups), thread_name_prefix="readiness")
    try:
        asked = [pool.submit(_ask, app, names, check) for names, check in groups]
        for future in wait(asked, timeout=PATIENCE).done:
            found.update(future.result())
    finally:
        # Whoever is still waiting ends by its own time-out.
        pool.shutdown(wait=False, cancel_futures=True)
    return found


def _ask(app: Flask, names: tuple[str, ...], check: Callable[[], dict[str, str]]) -> dict[str, str]:
    read_only.set(True)
    with app.app_context():
        try:
            return check()
        except Exception as error:  # noqa: BLE001  # whatever it is, the part is not well, and that is the answer
            logger.warning("not ready: %s: %s", names[0], error)
            return {}


def _database() -> dict[str, str]:
    at = now()
    beat = sa.exists().where(Beat.leading, Beat.seen_at > at - timedelta(seconds=BEAT_GONE_AFTER))
    worker = sa.exists().where(Worker.stopped_at.is_(None), Worker.seen_at > at - timedelta(seconds=GONE_AFTER))
    leads, works = db.session.execute(sa.select(beat, worker)).one()
    return {
        "database": OK,
        "beat": OK if leads else "none leads",
        "worker": OK if works else "none is alive",
    }


def _redis() -> dict[str, str]:
    client = broker.client()
    client.ping()
    return {"redis": OK, "recorder": _recorder(client)}


def _recorder(client: Any) -> str:
    """Whether state changes reach the database: a recorder may be alive and get nowhere."""
    behind = recorder.lag(client).seconds
    if behind > MAX_RECORDER_LAG:
        return f"{behind:.0f} s behind"
    return OK if recorder.present(client) else "none is alive"


def _broker() -> dict[str, str]:
    broker.check()
    return {"broker": OK}
