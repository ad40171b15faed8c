"""Celery's configuration, each setting with the reason for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from webapp.config import Settings
from webapp.messaging.default_schedules import SCHEDULES

# A delivered message that was not acknowledged is delivered again after this many seconds. Redis counts it from the
# delivery. A task may take longer: its run is claimed, and the second delivery does nothing.
VISIBILITY_TIMEOUT = 300
# A page never waits longer than this for a broker that does not answer.
BROKER_TIMEOUT = 2.0

# Where our own tasks go. Not Celery's default, `celery`: that is where other projects on the same broker send theirs.
DEFAULT_QUEUE = "beatdesk"
# The only one that Beatdesk sends. Pickle would let whoever reaches the broker run code in the workers, and a worker
# need not accept any other.
SERIALIZER = "json"


def celery_settings(settings: Settings) -> dict[str, Any]:
    """What `Celery.conf.update` takes."""
    return {
        "broker_url": settings.broker_url,
        "result_backend": settings.result_backend,
        "timezone": settings.timezone,
        "enable_utc": True,
        "task_default_queue": DEFAULT_QUEUE,
        **execution(settings.broker_url),
        # Of runs whose task sets none (see `webapp.messaging.time_limits`).
        "task_soft_time_limit": settings.task_soft_time_limit,
        "task_time_limit": settings.task_time_limit,
        **_beat(settings),
    }


def execution(broker_url: str) -> dict[str, Any]:
    """Those that say how tasks are sent and executed, whatever is around them."""
    return {**_content(), **_delivery(), **_transport(broker_url), **_worker()}


def _content() -> dict[str, Any]:
    return {
        "task_serializer": SERIALIZER,
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": [SERIALIZER],
        "result_accept_content": ["json"],
        # Name, arguments and worker beside the result, for tools that look at the result backend.
        "result_extended": True,
        # `runs` keeps results for good; the backend only serves those who wait for one.
        "result_expires": 3600,
    }


def _delivery() -> dict[str, Any]:
    return {
        # A message is acknowledged when its task has ended, so that a killed worker loses nothing.
        "task_acks_late": True,
        # A killed pool process makes its task run again, a bounded number of times; `reject_on_worker_lost` never ends.
        "task_retry_on_worker_lost": True,
        # STARTED is a state that people want to see.
        "task_track_started": True,
        # One task in hand for each process: what is reserved by a busy worker is not hidden from an idle one.
        "worker_prefetch_multiplier": 1,
        # A dead broker must fail the call at once; the run's row stays, and beat sends it later.
        "task_publish_retry": False,
    }


def _transport(broker_url: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "broker_connection_timeout": BROKER_TIMEOUT,
        # Workers and beat that start before the broker wait for it.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_limit": 10,
    }
    redis_options = {
        # A server that went away is noticed within seconds, also by a connection that only waits.
        "socket_connect_timeout": BROKER_TIMEOUT,
        "socket_timeout": 10.0,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry_on_timeout": True,
    }
    common |= {
        "redis_socket_connect_timeout": BROKER_TIMEOUT,
        "redis_socket_timeout": 10.0,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
        "redis_retry_on_timeout": True,
        # Three places take the visibility time-out; the largest would win in silence.
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "result_backend_transport_options": {"visibility_timeout": VISIBILITY_TIMEOUT},
        "result_backend_always_retry": True,
        "result_backend_max_retries": 5,
    }
    if urlsplit(broker_url).scheme in ("redis", "rediss"):
        common["broker_transport_options"] = {
            "visibility_timeout": VISIBILITY_TIMEOUT,
            # Look for messages of dead workers every few seconds instead of every few minutes.
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            **redis_options,
        }
        # Who sends gives up sooner than who waits for work (see `webapp.messaging.producers`), and is sure of what it
        # sent.
        common["broker_sending_options"] = {"socket_timeout": BROKER_TIMEOUT, "retry_on_timeout": False}
    else:
        common["broker_heartbeat"] = 10
        # RabbitMQ confirms what it has taken; without it a lost message looks like a sent one.
        common["broker_transport_options"] = {"confirm_publish": True}
        common["broker_sending_options"] = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
        # RabbitMQ knows priorities only in queues that are declared with a highest one.
        common["task_queue_max_priority"] = 9
    return common


def _worker() -> dict[str, Any]:
    return {
        # A message that cannot be executed must not end the worker, nor one that waits for a rate limit hold it up.
        "worker_consumer": "webapp.worker_process.consumer:Consumer",
        # At SIGTERM running tasks get this long to end before they are given back.
        "worker_soft_shutdown_timeout": 30.0,
        # A leak in somebody's task ends with its process.
        "worker_max_tasks_per_child": 1000,
        # After a lost connection a task that still runs would be executed again elsewhere at the same time.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Our own root logger is configured by Celery; its colours would fill log files with escape codes.
        "worker_redirect_stdouts_level": "INFO",
        # Every reply to `inspect` and every event is small; events are off until somebody listens.
        "worker_send_task_events": False,
    }


def _beat(settings: Settings) -> dict[str, Any]:
    return {
        "beat_schedule": SCHEDULES,
        "beat_scheduler": "webapp.scheduler.beat:Scheduler",
        "beat_dburi": settings.database_url,
        # Where edits are announced; not the broker, which may be RabbitMQ.
        "beat_redis_url": settings.redis_url,
        # How long beat sleeps at most; edits wake it, this is the fallback.
        "beat_max_loop_interval": 0.5,
    }
