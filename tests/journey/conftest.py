"""Everything as `make run` starts it, and a browser in front of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page

from tests.servers import free_port, wait_for

ROOT = Path(__file__).parents[2]
READY = re.compile(r"Beatdesk is ready: (\S+)  sign in as (\S+) with (?:the )?password (\S+)")
# Settings in the environment of the test run must not reach the Beatdesk under test.
OURS = ("DATABASE_URL", "REDIS_URL", "CELERY_", "MAIL_", "SECRET_KEY", "ADMIN_", "PUBLIC_URL", "TIMEZONE", "BEATDESK_")


@dataclass
class Beatdesk:
    """A running installation, as `make run` starts it."""

    data: Path
    port: int
    process: subprocess.Popen[str] | None = None
    url: str = ""
    email: str = ""
    password: str = ""

    def start(self) -> float:
        """Start everything; returns the seconds until it said that it is ready."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        began = time.monotonic()
        with self._file("stdout").open("w") as stdout, self._file("stderr").open("w") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webapp.launcher"],
                cwd=ROOT,
                env=environ | {"BEATDESK_DATA": str(self.data), "PORT": str(self.port)},
                stdout=stdout,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        said = wait_for(self._ready, seconds=90, message="Beatdesk was not ready")
        self.url, self.email, password = said.groups()
        # It is said at the first start only.
        self.password = self.password or password
        return time.monotonic() - began

    def _file(self, name: str) -> Path:
        return self.data.parent / f"{name}.txt"

    def _ready(self) -> re.Match[str] | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"it ended: {self._file('stderr').read_text()[-3000:]}")
        return READY.search(self._file("stdout").read_text())

    def mails(self) -> int:
        """The number of emails in its mailbox. Loading its page again and again would cost too much."""
        return len(list((self.data / "mailbox").glob("*.eml")))

    def stop(self) -> tuple[float, list[str]]:
        """Ctrl-C; returns the seconds until it had ended, and the names of processes that are left."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        took = time.monotonic() - began
        self.process = None
        alive = [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        return took, [one.name() for one in alive]


@pytest.fixture
def beatdesk(tmp_path: Path) -> Iterator[Beatdesk]:
    """An installation on a free port with an empty data folder; ended with the test."""
    installed = Beatdesk(tmp_path / "data", free_port())
    try:
        yield installed
    finally:
        if installed.process is not None:
            installed.stop()


@pytest.fixture
def person(chromium: Browser) -> Iterator[Page]:
    """A browser, signed in to nothing."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Asia/Kathmandu")
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()
