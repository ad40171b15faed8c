"""Environments of their own for the distributions: built, installed by pip, and started as users start them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

from tests.journey.conftest import OURS, READY
from tests.processes import end_group
from tests.servers import wait_for

ROOT = Path(__file__).parents[2]
PROJECT = """
from celery import Celery
from celery.schedules import crontab

app = Celery("shop", broker="{broker}")
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {{
    "close-the-books": {{"task": "shop.tasks.close_books", "schedule": crontab(hour=23, minute=30)}},
    "poll": {{"task": "shop.tasks.poll", "schedule": 30.0, "args": ["stock"]}},
}}

@app.task(name="shop.tasks.close_books")
def close_books(day: str = "today") -> None:
    "Close the books of a day."

@app.task(name="shop.tasks.poll")
def poll(what: str) -> None:
    "Poll."
"""
# In the folder of a project these would be found before modules of the same names elsewhere.
OBSTACLES = ("wsgi", "webapp", "flask", "config")
ITS_TASK = "shop.tasks.close_books"


def write_project(folder: Path, broker: str) -> Path:
    """A plain Celery project in that folder, `-A shop`; returns the folder."""
    folder.mkdir(exist_ok=True)
    (folder / "shop.py").write_text(PROJECT.format(broker=broker))
    for name in OBSTACLES:
        (folder / f"{name}.py").write_text("raise SystemExit('a module of another project')")
    return folder


def build_both(out: Path) -> Path:
    """Build the sdist of each distribution, and its wheel from that; returns the folder."""
    command = [sys.executable, "-m", "build", "--outdir", str(out)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_run, ([*command, str(folder)] for folder in (ROOT / "beatdesk", ROOT))))
    return out


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has nothing but what was installed into it."""

    path: Path

    @classmethod
    def made(cls, path: Path, wheels: Path, *names: str) -> Environment:
        """A new one with these distributions of ours, and from the index what they need."""
        _run([sys.executable, "-m", "venv", "--without-pip", str(path)])
        pip = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"), "install", "--quiet"]
        wanted = [str(wheel) for name in names for wheel in wheels.glob(f"{name.replace('-', '_')}-*.whl")]
        assert len(wanted) == len(names)
        _run([*pip, "--no-compile", *wanted])
        return cls(path)

    def program(self, name: str) -> str:
        """The path of one of its programs."""
        return str(self.path / "bin" / name)

    def output(self, name: str, *arguments: str, environ: Mapping[str, str], cwd: Path, fails: bool = False) -> str:
        """What a program prints."""
        done = subprocess.run(
            [self.program(name), *arguments],
            env=environ,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout


def made_both(folder: Path, wheels: Path) -> tuple[Environment, Environment]:
    """The environment of a project, with `beatdesk`; and that of the server."""
    wanted = {"project": ("beatdesk",), "server": ("beatdesk-server", "beatdesk")}
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(Environment.made, folder / name, wheels, *names) for name, names in wanted.items()]
        return made[0].result(), made[1].result()


def beside(project: Environment, server: Environment, *options: str) -> list[str]:
    """The command that starts the server beside the project."""
    celery = [project.program("celery"), "-A", "shop", "beatdesk"]
    return [*celery, "--server", server.program("beatdesk-server"), *options]


def bare(home: Path, **more: str) -> dict[str, str]:
    """An environment without settings of ours, and without this checkout."""
    left_out = (*OURS, "PYTHON", "FLASK_", "HOST", "PORT", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return kept | {"HOME": str(home), "XDG_DATA_HOME": str(home / "share")} | more


class Started:
    """A program that starts everything, and its output."""

    def __init__(self, command: list[str], environ: Mapping[str, str], folder: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self.url = ""

    def sign_in(self, password: str = "") -> None:
        """Wait until it is ready, then sign in as the first admin, with the password that it printed or this one."""
        found = wait_for(self._ready, seconds=120, message="Beatdesk was not ready")
        self.url, email, printed = found.groups()
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.page("/login"))
        assert token is not None
        form = {"csrf_token": token[1], "email": email, "password": password or printed}
        # The token belongs to the page that it came from.
        self._opener.addheaders = [("Referer", f"{self.url}/login")]
        self._opener.open(f"{self.url}/login", urlencode(form).encode(), timeout=30).close()

    def _ready(self) -> re.Match[str] | None:
        assert self.popen.poll() is None, self.output()
        return READY.search(self.output())

    def output(self) -> str:
        """All that it has said so far."""
        return self.log.read_text()

    def page(self, path: str) -> str:
        """A page as the person sees it who has signed in."""
        with self._opener.open(f"{self.url}{path}", timeout=30) as response:
            text: str = response.read().decode()
            return text


@contextmanager
def started(command: list[str], environ: Mapping[str, str], folder: Path, log: Path) -> Iterator[Started]:
    """Start a program that starts everything; nothing of it is left afterwards."""
    program = Started(command, environ, folder, log)
    try:
        yield program
    except BaseException:
        sys.stderr.write(program.output()[-6000:])
        raise
    finally:
        end_group(program.popen, signal.SIGTERM)
