"""The schedulers that are measured, and how each is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from webapp.launcher.bootstrap import install

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
ENVIRONMENTS = ROOT / ".cache" / "bench"


@dataclass(frozen=True, slots=True)
class Target:
    """A scheduler on a storage.

    `allowance` is the maximum of seconds for loading a schedule at start; a trial waits as long before its first due
    time. `live` says whether its schedules can be edited while it runs, and `leads` whether
    one of several beats leads.
    """

    key: str
    title: str
    peer: str
    storage: Literal["files", "redis", "postgresql", "our postgresql", "our sqlite"]
    allowance: float
    environment: str | None = None
    live: bool = True
    leads: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is Beatdesk's own."""
        return self.environment is None

    @property
    def python(self) -> Path:
        """The Python that has it installed."""
        if self.environment is None:
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin" / "python"

    def beat(self) -> list[str]:
        """The arguments after `python -m` that start it as its documentation says."""
        if self.ours:
            return ["celery", "-A", "wsgi:celery", "beat", "--loglevel", "WARNING"]
        module = f"bench.beats.peers.{self.peer}"
        options = ["--loglevel", "WARNING", "--schedule", "schedule", "--pidfile", ""]
        scheduler = {
            "own": "celery.beat:PersistentScheduler",
            "sacb": "sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
            "yardstick": "bench.beats.peers.yardstick:Yardstick",
            "djcb": "django_celery_beat.schedulers:DatabaseScheduler",
            "redbeat": "redbeat.RedBeatScheduler",
        }[self.peer]
        return ["celery", "-A", f"{module}:app", "beat", "--scheduler", scheduler, *options]


OURS = Target("ours", "ours PostgreSQL", "ours", "our postgresql", 0.0002, leads=True)
OURS_SQLITE = Target("ours_sqlite", "ours SQLite", "ours", "our sqlite", 0.0002, leads=True)
PEERS = (
    Target("celery", "celery", "own", "files", 0.0006, "celery", live=False),
    Target("sacb", "sacb", "sacb", "postgresql", 0.0009, "sacb"),
    Target("djcb", "djcb", "djcb", "postgresql", 0.0006, "djcb"),
    Target("redbeat", "redbeat", "redbeat", "redis", 0.0, "redbeat", leads=True),
    Target("yardstick", "yardstick", "yardstick", "postgresql", 0.0009, "sacb"),
)
TARGETS = (OURS, OURS_SQLITE, *PEERS)


def build(targets: tuple[Target, ...] = TARGETS) -> None:
    """Make the environments that are missing or older than their lock file. Raises SetupError."""
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    for name in sorted({target.environment for target in targets if target.environment}):
        install(f"requirements-{name}", venv=ENVIRONMENTS / name, requirements=BENCH)
