"""Announces an app's tasks to the server: one form, in which workers, `adopt` and `celery -A proj beatdesk` all do it.

An announcement is an entry of a capped Redis stream, which the server empties as it reads. A worker announces once it
is ready, when all its modules are imported, in a thread: Redis may be away, and the worker does not wait for it.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import zlib
from collections.abc import Callable
from typing import Any

import celery as celery_package
import redis
from celery import Celery, signals
from kombu import Queue

from beatdesk.encoding import NAME_LENGTH, shortened
from beatdesk.task_description import describe

logger = logging.getLogger(__name__)

STREAM = "beatdesk:announcements"
FORMAT = 1
# Kept while no server reads them.
STREAM_LENGTH = 200
# A larger one, uncompressed, is not read.
MAX_BYTES = 32 * 1024 * 1024
# Seconds until another attempt while Redis is away: doubled each time, up to the second.
RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 60.0

_LIMITS = ("time_limit", "soft_time_limit")


def announcement(app: Celery) -> dict[str, Any]:
    """What an app and its tasks are, as JSON. The app's modules must have been imported."""
    conf, general = app.conf, general_limits(app)
    return {
        "format": FORMAT,
        "app": {
            "name": str(app.main or ""),
            "timezone": str(app.timezone),
            "utc": bool(conf.enable_utc),
            "queue": str(conf.task_default_queue),
            "accepts": sorted(map(str, conf.accept_content or ())),
            "celery": celery_package.__version__,
        },
        "tasks": {name: described(app, name, task, general) for name, task in sorted(app.tasks.items())},
    }


def described(app: Celery, name: str, task: Any, general: dict[str, float]) -> dict[str, Any]:
    """The description of one task, with its queue where the routes say so. Raises nothing that the task raises."""
    try:
        described = describe(task)
    except Exception:
        # A task of another program may raise anything when it is looked at.
        logger.warning("the task %s is announced by its name only", name, exc_info=True)
        described = {}
    if not described.keys() & set(_LIMITS):
        described |= general
    queue = queue_of(app, name, task)
    return described if queue is None else {**described, "queue": queue}


def general_limits(app: Celery) -> dict[str, float]:
    """The time limits of tasks that have none of their own, which Celery 5.4 leaves to its workers."""
    given = {name: app.conf[f"task_{name}"] for name in _LIMITS}
    return {name: limit for name, limit in given.items() if isinstance(limit, int | float)}


def queue_of(app: Celery, name: str, task: Any) -> str | None:
    """The queue to which the app's routes send a task without arguments; None where they do not say.

    A queue that the app does not have is not added to it, as sending would: the worker would consume it.
    """
    try:
        found = getattr(task, "queue", None) or _routed(app, name, task)
    except Exception:  # noqa: BLE001  # a router is the project's own code, and is given no arguments here
        logger.info("the queue of the task %s depends on its arguments", name)
        return None
    named = found.name if isinstance(found, Queue) else found
    return named if isinstance(named, str) else None


def _routed(app: Celery, name: str, task: Any) -> Any:
    route = app.amqp.router.lookup_route(name, [], {}, {}, task)
    if isinstance(route, str):
        return route
    if route and ("exchange" in route or "routing_key" in route) and not route.get("queue"):
        return None
    return (route or {}).get("queue") or app.conf.task_default_queue


def announce(app: Celery, client: redis.Redis, source: str = "") -> int:
    """Announce the tasks of an app, and give how many. Raises redis.RedisError, OSError.

    `source` is who says so, a worker's node name; without one it is the app's name. A later announcement of the same
    source takes the place of an earlier one.
    """
    made = announcement(app)
    client.xadd(
        STREAM,
        {"source": shortened(source or app.main or "celery", NAME_LENGTH), "body": packed(made)},
        maxlen=STREAM_LENGTH,
        approximate=False,
    )
    return len(made["tasks"])


def packed(made: dict[str, Any]) -> str:
    """An announcement as text: JSON, compressed."""
    return base64.b64encode(zlib.compress(json.dumps(made, separators=(",", ":")).encode())).decode()


def unpacked(text: str) -> Any:
    """The JSON of an announcement. Raises ValueError."""
    try:
        body = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_BYTES)
        return json.loads(body)
    except (ValueError, zlib.error, RecursionError) as error:
        raise ValueError(f"not an announcement: {error}") from error


def install(app: Celery, client_factory: Callable[[], redis.Redis]) -> None:
    """Have this app's worker announce its tasks each time it is ready."""

    def ready(sender: Any, **_: Any) -> None:
        if sender.app is app:
            source = str(sender.hostname)
            given = (app, client_factory, source)
            threading.Thread(target=_announce_until_taken, args=given, name="announcing", daemon=True).start()

    signals.worker_ready.connect(ready, weak=False, dispatch_uid=("beatdesk.announcing", id(app)))


def _announce_until_taken(app: Celery, client_factory: Callable[[], redis.Redis], source: str) -> None:
    pause, stopping = RETRY_SECONDS, threading.Event()
    while True:
        try:
            announce(app, client_factory(), source)
        except (redis.RedisError, OSError) as error:
            logger.info("the tasks are announced later, Redis does not answer: %s", error)
        except Exception:
            logger.exception("the tasks cannot be announced")
            return
        else:
            return
        stopping.wait(pause)
        pause = min(2 * pause, MAX_RETRY_SECONDS)
