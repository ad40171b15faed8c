"""Seconds from `celery -A proj beatdesk` to the first page that shows the project's tasks, with the server installed.

Both distributions are built and installed into environments of their own. The page is loaded as by a person who signs
in as soon as the address is printed. The first start makes the database; the others find it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.packages.environments import ITS_TASK, bare, beside, build_both, made_both, started, write_project
from tests.servers import free_port, valkey, wait_for
from tests.visitors import PASSWORD

TITLE = "the first page"
STARTS = 3
BAR = 10.0


def measure(starts: int = STARTS) -> list[float]:
    """The seconds of each start, the first one with an empty data folder."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheels, data = folder / "dist", folder / "valkey"
        data.mkdir()
        project, server = made_both(folder, build_both(wheels))
        # As pip does by default; tests leave it out, which would make the first start the slower one.
        server.output("python", "-m", "compileall", "-q", "-j", "0", "lib", environ=bare(folder), cwd=server.path)
        with valkey(data) as broker:
            home = write_project(folder / "shop", broker)
            environ = bare(folder, BEATDESK_PORT=str(free_port()), BEATDESK_ADMIN_PASSWORD=PASSWORD)
            for _ in range(starts):
                began = time.monotonic()
                with started(beside(project, server), environ, home, folder / "log") as running:
                    running.sign_in(PASSWORD)
                    wait_for(lambda: ITS_TASK in running.page("/runs/new"), seconds=60)  # asked here only
                    found.append(time.monotonic() - began)
    return found


def report(found: Sequence[float]) -> str:
    """The seconds, next to the bar."""
    first, *later = (f"{seconds:.1f} s" for seconds in found)
    held = f"at most {BAR:.0f} s: {'met' if max(found) <= BAR else 'missed'}"
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
    return f"{TITLE}: their tasks are shown after {first}, later {', '.join(later)} ({load}); {held}"
