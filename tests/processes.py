"""Celery workers, beats and recorders as real processes, with the settings of a test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import redis as redis_client
import sqlalchemy as sa

from tests.preloaded import Copied, preloaded
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import create_engine
from webapp.recorder.recorder import present
from webapp.run_store.worker_models import Worker

ROOT = Path(__file__).parent.parent
# Whether processes are copies of one that has imported the project. `make test` says so, to save their imports.
PRELOADED = os.environ.get("PRELOADED", "0") == "1"
# Programs and pools that bring greenlets.
PATCHED = {"gunicorn", "gevent", "eventlet"}


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment that gives these settings to a process."""
    return {
        **os.environ,
        "SECRET_KEY": settings.secret_key,
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CELERY_BROKER_URL": settings.broker_url,
        "CELERY_RESULT_BACKEND": settings.result_backend,
        "CELERY_BROKER_TRANSPORT_OPTIONS": json.dumps(settings.project.broker_transport_options),
        "MAIL_SERVER": settings.mail.server,
        "MAIL_PORT": str(settings.mail.port),
        "TIMEZONE": settings.timezone,
        "BEATDESK_DATA": str(settings.data),
        "PYTHONPATH": str(ROOT),
        "FLASK_APP": "wsgi",
        **more,
    }


def _start(arguments: list[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes] | Copied:
    # What replaces parts of Python itself must do so before anything is imported.
    if PRELOADED and not PATCHED.intersection(arguments):
        return preloaded().start(arguments, env, log)
    with log.open("ab") as output:
        return start_program([sys.executable, "-m", *arguments], env, output)


def start_program(command: list[str], env: Mapping[str, str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, in the project's folder."""
    return subprocess.Popen(
        command,
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class Process:
    """A program and everything that it starts, in a session of its own, with its output in a file."""

    def __init__(self, settings: Settings, name: str, arguments: list[str], **more: str) -> None:
        self.name = name
        self.log = Path(settings.data) / f"{name}.log"
        self.popen = _start(arguments, environment(settings, **more), self.log)

    def output(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def stacks(self) -> str:
        """The stacks of all its threads, and its children's, at the end of its output."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGUSR2)
        wait_for(lambda: "(most recent call first)" in self.output()[-20_000:], message="it printed no stack")
        return self.output()[-20_000:]

    def kill(self) -> None:
        """SIGKILL to it and all its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)

    def signal(self, number: int) -> None:
        """Send one signal to its main process."""
        self.popen.send_signal(number)

    def end(self, seconds: float = 15.0) -> int:
        """SIGTERM, then SIGKILL to whatever is left; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.popen.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        return self.popen.wait(10)


def end_group(popen: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
    """End a process and all that it started in its session; SIGKILL after a while, whatever the signal."""
    for chosen in (number, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, chosen)
        with suppress(subprocess.TimeoutExpired):
            popen.wait(10)
            return


@contextmanager
def running(process: Process) -> Iterator[Process]:
    """End the process with the block; show its output when the block failed."""
    try:
        yield process
    except BaseException:
        sys.stderr.write(f"--- output of {process.name}:\n{process.output()[-6000:]}\n")
        raise
    finally:
        process.end()


@contextmanager
def worker(settings: Settings, *options: str, name: str = "worker", **more: str) -> Iterator[Process]:
    """A Celery worker that has shown its first sign of life."""
    arguments = ["celery", "-A", "wsgi:celery", "worker", "--loglevel", "INFO", "-n", f"{name}@%h", *options]
    with running(Process(settings, name, arguments, **more)) as process:
        engine = create_engine(settings.database_url)
        mine = Worker.name.startswith(f"{name}@", autoescape=True)
        statement = sa.select(Worker.id).where(mine, Worker.stopped_at.is_(None))

        def ready() -> bool:
            if process.popen.poll() is not None:
                raise AssertionError(f"{name} ended with {process.popen.returncode}")
            with engine.connect() as connection:
                return connection.execute(statement).first() is not None

        wait_for(ready, seconds=30, message=f"{name} was not ready")
        engine.dispose()
        yield process


@contextmanager
def recorder(settings: Settings, name: str = "recorder") -> Iterator[Process]:
    """A recorder that has shown its first sign of life."""
    with running(Process(settings, name, ["flask", "recorder", "run"])) as process:
        with redis_client.Redis.from_url(settings.redis_url, decode_responses=True) as client:
            wait_for(lambda: present(client), seconds=20, message="the recorder was not ready")
        yield process


def beat(settings: Settings, name: str = "beat", **more: str) -> Process:
    """A beat process, just started."""
    return Process(settings, name, ["celery", "-A", "wsgi:celery", "beat", "--loglevel", "INFO"], **more)
