"""Programs of the project, started as copies of a process that has imported them; see `preloading`."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


class Copied:
    """As much of `subprocess.Popen` as tests use, for a process that another one began."""

    def __init__(self, source: Preloaded, pid: int) -> None:
        self._source = source
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._source.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired."""
        give_up = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > give_up:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class Preloaded:
    """The process that has imported everything. One in each process of tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.preloading", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._socket = ours
        self._lines = ours.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Its answer to a request."""
        with self._lock:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(self._lines.readline())

    def start(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> Copied:
        """`python -m` with these arguments, in a session of its own; its output goes to the end of the file."""
        return Copied(self, self.ask({"run": arguments, "env": env, "log": str(log)}))

    def close(self) -> None:
        """End it; what it began goes on."""
        self._lines.close()
        self._socket.close()
        self._process.wait(10)


@cache
def preloaded() -> Preloaded:
    """The one of this process, started when it is first asked for."""
    made = Preloaded()
    atexit.register(made.close)
    return made
