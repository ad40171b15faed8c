"""Starts programs of the project as copies of a process that has imported them: to import takes longer than most tests.

`python -m tests.preloading DESCRIPTOR` serves one client over a socket, a JSON object a line each way:

- `{"run": ["celery", …], "env": {…}, "log": "…"}` begins `python -m celery …` in a session of its own, answers its pid;
- `{"ended": PID}` answers its exit code, as `subprocess` gives it, or null while it runs.

It ends when its client closes the socket. What is started is a process of its own from then on, with everything that is
done at its start but the imports. Nothing that is imported here makes threads, connections or an application.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
from typing import Any

IMPORTED = (
    "celery.bin.celery",
    "celery.apps.worker",
    "celery.apps.beat",
    "celery.backends.redis",
    "celery.concurrency.prefork",
    "celery.concurrency.solo",
    "celery.concurrency.thread",
    "celery.worker.components",
    "celery.worker.consumer",
    "celery.app.trace",
    "flask.cli",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
    "psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "webapp.factory",
    "webapp.worker_process.host",
    "webapp.scheduler.beat",
)


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Answer until the client goes; returns what to run in a process that was begun here, and None in this one."""
    with connection.makefile("r", encoding="utf-8") as lines:
        for line in lines:
            asked = json.loads(line)
            if "ended" in asked:
                _answer(connection, _exit_code(asked["ended"]))
                continue
            pid = os.fork()
            if pid == 0:
                return asked  # type: ignore[no-any-return]  # what our client wrote
            _answer(connection, pid)
    return None


def _answer(connection: socket.socket, value: int | None) -> None:
    connection.sendall(json.dumps(value).encode() + b"\n")


def _exit_code(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def become(asked: dict[str, Any]) -> None:
    """Be the program that was asked for."""
    os.setsid()
    output = os.open(asked["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    # For a test that wonders why it does not end.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    os.environ.clear()
    os.environ.update(asked["env"])
    module, *arguments = asked["run"]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Import, then serve."""
    for name in IMPORTED:
        importlib.import_module(name)
    # Copies share the memory of what is never looked at again.
    gc.freeze()
    connection = socket.socket(fileno=int(sys.argv[1]))
    asked = serve(connection)
    connection.close()
    if asked is not None:
        become(asked)


if __name__ == "__main__":
    main()
