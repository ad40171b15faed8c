"""The virtual environments of the projects: the oldest and the newest Celery that are supported."""

from __future__ import annotations

import fcntl
from pathlib import Path

from webapp.launcher.bootstrap import ROOT, install

FOLDER = ROOT / ".cache" / "adoption"
REQUIREMENTS = ROOT / "tests" / "adoption"
# Each with its lock file; `make lock` makes them.
ENVIRONMENTS = ("celery54", "celery57")


def python_of(name: str) -> Path:
    """The Python of an environment, which is made if it is missing or older than its lock file. Raises SetupError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes.
    with (FOLDER / f"{name}.busy").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        install(f"requirements-{name}", venv=FOLDER / name, requirements=REQUIREMENTS)
    return FOLDER / name / "bin" / "python"
