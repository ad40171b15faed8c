"""Gunicorn's configuration, each setting with its reason: `gunicorn --config python:webapp.gunicorn wsgi:app`."""

import sys
import time
from typing import Any

from webapp.config import ConfigError, Settings
from webapp.secrecy.log_text import escape_in

try:
    _settings = Settings.from_env()
except ConfigError as _error:
    # Gunicorn would show a traceback; who set the variable needs only the line.
    sys.exit(str(_error))

# Set HOST to 0.0.0.0 where a proxy on another machine has to reach it; nothing is exposed by accident.
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"

# Live pages keep a connection open for each viewer. Threads would run out of them and stop serving pages; greenlets do
# not. Gunicorn patches the standard library in each process before the application is imported, and psycopg 3 waits
# through the patched calls.
worker_class = "gevent"

# Checking a password keeps a whole core busy for a moment; with two processes other pages do not wait for it.
workers = _settings.web_processes

# Connections a process serves at once, open streams included.
worker_connections = 1000

# Each process builds its own application: pools, the stream's reader and greenlets must not be shared through a fork.
preload_app = False

# A process that did not come round for this long (seconds) is stuck and is replaced.
timeout = 30

# Pages take milliseconds; what is still open after this long (seconds) are streams, and browsers open those anew.
graceful_timeout = 3

# Seconds that an idle connection waits for the browser's next request; longer than a page's own polling.
keepalive = 5

# The sign of life is written to memory: on a slow disk it would look as if the process were stuck.
worker_tmp_dir = "/dev/shm" if sys.platform == "linux" else None  # noqa: S108  # gunicorn makes a file of its own in it

# By default a control socket lies in the home folder, where two installations would take it from each other.
control_socket_disable = True

# Errors go where the process's output goes. Requests are counted by /metrics and logged by the proxy in front.
errorlog = "-"
accesslog = None
loglevel = "info"


def on_starting(server: Any) -> None:
    """Before there are processes: what is logged of a request cannot look like another line."""
    for handler in server.log.error_log.handlers:
        escape_in(handler)


def post_worker_init(worker: Any) -> None:
    """End at once where a server is another installation's; only here the libraries that ask it may be imported."""
    from webapp.extensions import celery
    from webapp.messaging import installation
    from webapp.messaging.producers import connect, drop

    if line := installation.problem(_settings.redis_url, lambda: drop(connect(celery))):
        if worker.age == 1:
            worker.log.error(line)
            # Gunicorn's code for an application that cannot be loaded: it ends, rather than start another process.
            sys.exit(4)
        # A second one that ends so would make it end with a traceback.
        while worker.alive:
            time.sleep(0.05)
        sys.exit()
