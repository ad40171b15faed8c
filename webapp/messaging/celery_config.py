"""Celery's configuration, each setting with the reason for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from webapp.config import ProjectSettings, Settings
from webapp.messaging.default_schedules import SCHEDULES

# On Redis, a message that our worker did not acknowledge is delivered again this many seconds after its delivery. A
# task may take longer: its run is claimed, and the second delivery does nothing.
VISIBILITY_TIMEOUT = 300
# Where our workers keep such messages. A worker gives back all that lies in the same place for longer than its own
# visibility timeout: in Celery's place, `unacked`, ours would give back what another project's worker still has in
# hand, and that would be executed twice.
UNACKNOWLEDGED = "beatdesk_unacked"
# A page never waits longer than this for a broker that does not answer.
BROKER_TIMEOUT = 2.0

# The queue of our own tasks. Not Celery's default, `celery`, which other projects on the same broker use.
DEFAULT_QUEUE = "beatdesk"
# Celery's default queue, where other projects send what nothing routes.
SHARED_QUEUE = "celery"
# The only serializer that Beatdesk sends with. With pickle, everyone with access to the broker could run code in the
# workers; JSON is what every worker accepts.
SERIALIZER = "json"


def celery_settings(settings: Settings) -> dict[str, Any]:
    """All settings, for `Celery.conf.update`."""
    return {
        "broker_url": settings.broker_url,
        "result_backend": settings.result_backend,
        "timezone": settings.timezone,
        "enable_utc": True,
        "task_default_queue": DEFAULT_QUEUE,
        **execution(settings.broker_url, settings.project),
        # For runs whose task sets none (see `webapp.messaging.time_limits`).
        "task_soft_time_limit": settings.task_soft_time_limit,
        "task_time_limit": settings.task_time_limit,
        **_beat(settings),
    }


def execution(broker_url: str, project: ProjectSettings | None = None) -> dict[str, Any]:
    """The settings of sending and executing tasks, without those of an installation."""
    return {**_content(), **_delivery(), **_transport(broker_url, project or ProjectSettings()), **_worker()}


def _content() -> dict[str, Any]:
    return {
        "task_serializer": SERIALIZER,
        "result_serializer": "json",
        "event_serializer": "json",
        "accept_content": [SERIALIZER],
        "result_accept_content": ["json"],
        # Name, arguments and worker beside the result, for tools that look at the result backend.
        "result_extended": True,
        # `runs` keeps results for good; the backend serves callers that wait for one.
        "result_expires": 3600,
    }


def _delivery() -> dict[str, Any]:
    return {
        # A message is acknowledged when its task has ended, so that a killed worker loses nothing.
        "task_acks_late": True,
        # A killed pool process makes its task run again, a bounded number of times; `reject_on_worker_lost` never ends.
        "task_retry_on_worker_lost": True,
        # So that a page shows which runs have started.
        "task_track_started": True,
        # One task for each process: a busy worker must not reserve messages that an idle one could take.
        "worker_prefetch_multiplier": 1,
        # A dead broker must fail the call at once; beat sends the run later, from its row.
        "task_publish_retry": False,
    }


def _transport(broker_url: str, project: ProjectSettings) -> dict[str, Any]:
    common: dict[str, Any] = {
        "broker_use_ssl": project.broker_use_ssl,
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
        "result_backend_always_retry": True,
        "result_backend_max_retries": 5,
    }
    options = {
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "unacked_key": UNACKNOWLEDGED,
        "unacked_index_key": f"{UNACKNOWLEDGED}_index",
        "unacked_mutex_key": f"{UNACKNOWLEDGED}_mutex",
        # Look for messages of dead workers every few seconds instead of every few minutes.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        **redis_options,
        **project.broker_transport_options,
    }
    # It is set in three places, of which the largest value would win.
    timeout = {"visibility_timeout": options["visibility_timeout"]}
    common |= timeout
    common["result_backend_transport_options"] = {**timeout, **project.result_backend_transport_options}
    if urlsplit(broker_url).scheme in ("redis", "rediss"):
        common["broker_transport_options"] = options
        # Senders give up sooner than consumers (see `webapp.messaging.producers`), and never send a command twice.
        common["broker_sending_options"] = {"socket_timeout": BROKER_TIMEOUT, "retry_on_timeout": False}
    else:
        common["broker_heartbeat"] = 10
        # Without confirmation by RabbitMQ a lost message looks like a sent one.
        common["broker_transport_options"] = {**project.broker_transport_options, "confirm_publish": True}
        common["broker_sending_options"] = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
        # RabbitMQ has priorities only in queues that are declared with a maximum.
        common["task_queue_max_priority"] = 9
    return common


def _worker() -> dict[str, Any]:
    return {
        # A message that cannot be executed must not end the worker, nor one that waits for a rate limit hold it up.
        "worker_consumer": "webapp.worker_process.consumer:Consumer",
        # At SIGTERM running tasks get this long to end before they are given back.
        "worker_soft_shutdown_timeout": 30.0,
        # Bounds the memory that a leak in a task can take.
        "worker_max_tasks_per_child": 1000,
        # Tasks go on after a lost connection: by its claim a run is not executed twice when its message comes again.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Our own root logger is configured by Celery; its colours would fill log files with escape codes.
        "worker_redirect_stdouts_level": "INFO",
        # Events are off until a monitor enables them.
        "worker_send_task_events": False,
    }


def _beat(settings: Settings) -> dict[str, Any]:
    return {
        "beat_schedule": SCHEDULES,
        "beat_scheduler": "webapp.scheduler.beat:Scheduler",
        "beat_dburi": settings.database_url,
        # For wake-ups after edits; not the broker, which may be RabbitMQ.
        "beat_redis_url": settings.redis_url,
        # Where tasks of the project on the same broker are sent that nothing routes.
        "beat_project_queue": settings.project.task_default_queue,
        # The longest sleep of beat, a fallback: edits wake it.
        "beat_max_loop_interval": 0.5,
    }
