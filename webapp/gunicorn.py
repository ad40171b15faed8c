"""Gunicorn's configuration, each setting with its reason: `gunicorn --config python:webapp.gunicorn wsgi:app`."""

import sys
import time
from typing import Any

from beatdesk.secrecy.log_text import escape_in
from webapp.config import ConfigError, Settings

try:
    _settings = Settings.from_env()
except ConfigError as _error:
    # Otherwise gunicorn would show a traceback.
    sys.exit(str(_error))

# Local by default, so that nothing is exposed by accident. For a proxy on another machine set HOST to 0.0.0.0.
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"

# Live pages keep a connection open for each viewer, for which threads would run out. Gunicorn patches the standard
# library in each process before the application is imported, and psycopg 3 waits through the patched calls.
worker_class = "gevent"

# Checking a password takes a whole core for a moment; with two processes other pages do not wait for it.
workers = _settings.web_processes

# Concurrent connections of a process, open streams included.
worker_connections = 1000

# Each process builds its own application: pools, the stream's reader and greenlets must not be shared through a fork.
preload_app = False

# A process without a heartbeat for so many seconds is stuck and is replaced.
timeout = 30

# Pages take milliseconds; connections that are open after so many seconds are streams, which browsers reopen.
graceful_timeout = 3

# Seconds that an idle connection stays open, longer than the interval of a polling page.
keepalive = 5

# The heartbeat is written to memory: on a slow disk the process would look stuck.
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None  # noqa: S108  # gunicorn makes a file of its own in it

# The control socket is by default in the home folder, where two installations would take it from each other.
control_socket_disable = True

# Errors go to the process's output. Requests are counted by /metrics and logged by the proxy in front.
errorlog = "-"
accesslog = None
loglevel = "info"


def on_starting(server: Any) -> None:
    """Before processes start: keep the text of a request from looking like another line of the log."""
    for handler in server.log.error_log.handlers:
        escape_in(handler)


def post_worker_init(worker: Any) -> None:
    """Exit if a server belongs to another installation. Imports are here, because gevent has to patch first."""
    from webapp.extensions import celery
    from webapp.messaging import installation
    from webapp.messaging.producers import connect, drop

    if line := installation.problem(_settings.redis_url, lambda: drop(connect(celery))):
        if worker.age == 1:
            worker.log.error(line)
            # Gunicorn's code for an application that cannot be loaded: the master ends too.
            sys.exit(4)
        # A second process with this code would make the master end with a traceback.
        while worker.alive:
            time.sleep(0.05)
        sys.exit()
