"""The CPU time that PostgreSQL spends on this program's connections, as Linux counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa


class Backends:
    """The server processes of an engine's connections; none where it is SQLite's, or the server is elsewhere.

    Made before the first connection. Parallel workers are turned off, because their time could not be counted.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._pids: set[int] = set()
        if engine.dialect.name == "postgresql" and Path("/proc/self/schedstat").exists():
            sa.event.listen(engine, "connect", self._take)

    def _take(self, connection: Any, _record: Any) -> None:
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.commit()
        self._pids.add(connection.info.backend_pid)

    def seconds(self) -> float:
        """How long they have been on a CPU until now."""
        return sum(_nanoseconds(pid) for pid in self._pids) / 1e9


def _nanoseconds(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except OSError:
        return 0
