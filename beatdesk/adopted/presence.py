"""An adopted worker's presence in Redis: its main process renews a key that expires, and names its processes there.

The recorder makes rows of `workers` of it, and renews the claims of the runs that it names as running.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import celery as celery_package
import kombu
import redis
from celery import signals
from celery.worker import state as worker_state

from beatdesk.adopted.claims import REMEMBERED_SECONDS, WORKER_KEY, WORKERS_KEY
from beatdesk.adopted.host import RedisHost
from beatdesk.encoding import NAME_LENGTH, encodable, shortened
from beatdesk.execution.emitter import Subject, emit
from beatdesk.execution.events import Event
from beatdesk.execution.message import run_of_message
from beatdesk.liveness import WORKER_HEARTBEAT, WORKER_LOST_AFTER

logger = logging.getLogger(__name__)

# Seconds between two renewals of the claims of runs that go on, which may take longer than a claim is remembered.
RENEWAL = REMEMBERED_SECONDS / 24
UNKNOWN_TASK = "NotExecutable: no worker knows this task"


def install(host: RedisHost) -> None:
    """Show the presence of the host's worker, where this process becomes one."""
    presence = _Presence(host)
    for signal, receiver in (
        (signals.celeryd_init, presence.prepare),
        (signals.worker_process_init, presence.begin_process),
        (signals.worker_process_shutdown, presence.end_process),
        (signals.worker_ready, presence.begin),
        (signals.worker_shutdown, presence.end),
        (signals.task_unknown, presence.unknown_task),
    ):
        signal.connect(receiver, weak=False)


class _Presence:
    """What a worker tells of itself, by the signals of its life."""

    def __init__(self, host: RedisHost) -> None:
        self._host = host
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._controller: Any = None
        self._told: dict[str, Any] = {}
        self._renew_at = 0.0

    def prepare(self, instance: Any = None, **_: Any) -> None:
        """Before it has processes, so that they inherit its identity, and before it sends events."""
        if instance is not None and instance.app is self._host.app and self._host.enabled:
            self._host.begin_worker()
            self._told = _described(instance.hostname)
            self._show()

    def begin_process(self, **_: Any) -> None:
        """In each process of a pool."""
        self._host.begin_process()

    def end_process(self, **_: Any) -> None:
        """In each process of a pool that ends by itself."""
        self._host.flush()

    def begin(self, sender: Any, **_: Any) -> None:
        """The worker takes messages."""
        if sender.app is not self._host.app or not self._told:
            return
        self._controller = sender.controller
        pool = type(sender.controller.pool).__module__.rsplit(".", 1)[-1]
        self._told |= {
            # By the names that the option --pool takes.
            "pool": {"thread": "threads"}.get(pool, pool)[:20],
            "tasks": sorted(encodable(name) for name in self._host.app.tasks if not name.startswith("celery.")),
            "acks_late": sorted(name for name, task in self._host.app.tasks.items() if task.acks_late),
        }
        self._stopping.clear()
        self._show()
        self._thread = threading.Thread(target=self._run, name="beatdesk-presence", daemon=True)
        self._thread.start()

    def end(self, **_: Any) -> None:
        """The worker has stopped in an orderly way."""
        if self._thread is None:
            return
        self._stopping.set()
        self._thread.join(timeout=2 * WORKER_HEARTBEAT)
        self._thread = None
        self._show(stopped=True)
        self._host.flush()

    def unknown_task(self, sender: Any, name: str, message: Any, **more: Any) -> None:
        """A message of ours whose task this worker does not have."""
        headers = message.headers if isinstance(message.headers, Mapping) else {}
        run_id = run_of_message({**headers, "id": more.get("id")})
        if sender.app is self._host.app and self._host.enabled and run_id is not None:
            emit(Subject(run_id, headers.get("retries") or 0, sender.hostname, name), Event.FAILED, UNKNOWN_TASK)

    def _run(self) -> None:
        self._renew_at = time.monotonic() + RENEWAL
        while not self._stopping.wait(WORKER_HEARTBEAT):
            self._show()
            if time.monotonic() >= self._renew_at:
                self.renew()

    def renew(self) -> None:
        """Have the claims of what this worker executes remembered from now on. Never raises."""
        self._renew_at = time.monotonic() + RENEWAL
        try:
            with self._host.redis().pipeline(transaction=False) as pipeline:
                for request in _active():
                    if (run_id := run_of_message(request.request_dict)) is not None:
                        pipeline.expire(self._host.over(run_id, request.request_dict)[1], REMEMBERED_SECONDS)
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            self._renew_at = time.monotonic()
            logger.info("claims are renewed later: %s", error)
        except Exception:
            # Without its thread the worker would be taken for lost.
            logger.exception("claims cannot be renewed")

    def _show(self, *, stopped: bool = False) -> None:
        """Renew the key. Never raises: whatever it is, the next one tries again."""
        try:
            if self._controller is not None and not stopped:
                self._told |= _changing(self._controller)
            told = {**self._told, "at": time.time(), "stopped": stopped}
            worker_id = self._host.worker_id
            with self._host.redis().pipeline(transaction=False) as pipeline:
                pipeline.set(WORKER_KEY.format(worker_id=worker_id), json.dumps(told), ex=int(WORKER_LOST_AFTER))
                pipeline.sadd(WORKERS_KEY, worker_id)
                # Without a recorder nothing else removes the workers that were there.
                pipeline.expire(WORKERS_KEY, REMEMBERED_SECONDS)
                pipeline.execute()
        except (redis.RedisError, OSError) as error:
            logger.info("the worker's presence is shown later: %s", error)
        except Exception:
            logger.exception("the worker's presence cannot be shown")


def _described(hostname: str) -> dict[str, Any]:
    return {
        "name": shortened(hostname, NAME_LENGTH),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pool": "",
        "concurrency": 1,
        "queues": [],
        "tasks": [],
        "acks_late": [],
        "running": [],
        "processes": f",{os.getpid()},",
        "versions": {
            "python": platform.python_version(),
            "celery": celery_package.__version__,
            "kombu": kombu.__version__,
        },
        "started": time.time(),
    }


def _active() -> list[Any]:
    """The requests that are executed; other threads of the worker add and remove some meanwhile."""
    while True:
        try:
            return list(worker_state.active_requests)
        except RuntimeError:
            continue


def _changing(controller: Any) -> dict[str, Any]:
    pool, scaler = controller.pool, getattr(controller, "autoscaler", None)
    current = max(1, pool.num_processes)
    told = {"concurrency": current, "autoscale_min": None, "autoscale_now": None}
    if scaler is not None and hasattr(pool, "grow"):
        scaled = {"autoscale_min": scaler.min_concurrency, "autoscale_now": current}
        told |= {"concurrency": max(scaler.max_concurrency, current), **scaled}
    processes = {os.getpid(), *(pool.info.get("processes") or ())}
    return {
        **told,
        "queues": sorted(map(encodable, controller.app.amqp.queues.consume_from)),
        "running": [request.id for request in _active()],
        # With a comma on each side, so that the script of claims finds one as text.
        "processes": f",{','.join(map(str, sorted(processes)))},",
    }
