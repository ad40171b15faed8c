"""A small project for the launcher: a Procfile of real processes, run by the real launcher in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.servers import wait_for

WEB = """
import http.server, os, pathlib
pathlib.Path("web.txt").write_text("".join(f"{name}={value}\\n" for name, value in os.environ.items()))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["BEATDESK_PORT"])), Ready).serve_forever()
"""
# A process with two children of its own, none of which ends when asked.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.fork() and os.fork()
while True:
    time.sleep(60)
"""
PROCFILE = """
release: echo admin created && env > environ.txt
web: python web.py
worker: sleep 1111 & sleep 2222 & wait
beat: sleep 1000
"""
DRIVER = "import sys; from pathlib import Path; from webapp.launcher.__main__ import main; sys.exit(main(Path.cwd()))"
SERVERS = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "MAIL_SERVER", "SECRET_KEY")


@dataclass
class Project:
    """A folder with a Procfile; `data` is its data folder."""

    root: Path
    port: int

    @property
    def data(self) -> Path:
        return self.root / "var"

    def write(self, procfile: str = PROCFILE) -> None:
        (self.root / "Procfile").write_text(procfile)
        (self.root / "web.py").write_text(WEB)
        (self.root / "stubborn.py").write_text(STUBBORN)

    def environ(self, **changes: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in SERVERS}
        here = {"PORT": str(self.port), "BEATDESK_DATA": str(self.data), "PYTHONPATH": str(Path.cwd())}
        return kept | here | changes

    def fails(self, **changes: str) -> str:
        """Start it where it cannot work; returns all that it said."""
        done = subprocess.run(
            [sys.executable, "-c", DRIVER],
            cwd=self.root,
            env=self.environ(**changes),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        return done.stderr

    @contextmanager
    def running(self, **changes: str) -> Iterator[Running]:
        """Start it and wait until it says that it is ready."""
        with self.starting(**changes) as running:
            wait_for(lambda: running.announced() or running.launcher.poll() is not None, seconds=30)
            assert running.announced(), running.err.read_text()
            yield running

    @contextmanager
    def starting(self, **changes: str) -> Iterator[Running]:
        """Start it; nothing is left behind."""
        out, err = self.root / "out.txt", self.root / "err.txt"
        # Tests that are run by `nohup` would hand it on, and the launcher would rightly outlive its terminal.
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            launcher = psutil.Popen(
                [sys.executable, "-c", DRIVER], cwd=self.root, env=self.environ(**changes), stdout=stdout, stderr=stderr
            )
        signal.signal(signal.SIGHUP, inherited)
        running = Running(launcher, out, err)
        try:
            yield running
        finally:
            for process in running.processes():
                process.kill()
            if launcher.poll() is None:
                launcher.kill()
            launcher.wait()


@dataclass
class Running:
    """A launcher, and the files that hold what it said."""

    launcher: psutil.Popen
    out: Path
    err: Path

    def announced(self) -> bool:
        return "\n" in self.out.read_text()

    @property
    def ready_line(self) -> str:
        (line,) = self.out.read_text().splitlines()
        return line

    @property
    def password(self) -> str:
        found = re.search(r"with password (\S+)", self.ready_line)
        assert found is not None
        return found[1]

    def processes(self) -> list[psutil.Process]:
        """All that it has started and that those have started."""
        try:
            found: list[psutil.Process] = self.launcher.children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return found

    def named(self, text: str) -> list[psutil.Process]:
        """Those whose command line contains the text."""
        return [process for process in self.processes() if text in command_line(process)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and wait for the end, which must come within 10 s. Gives the exit code."""
        self.launcher.send_signal(number)
        return int(self.launcher.wait(timeout=10))


def command_line(process: psutil.Process) -> str:
    """Empty for one that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
