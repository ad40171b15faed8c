"""The ledger of projects without a database: a file with a line for each execution of a task."""

from __future__ import annotations

import os
import time
from pathlib import Path

FOLDER = Path(os.environ.get("SHOP_FOLDER", "."))


def write(call: str, task_id: str) -> None:
    """Note one execution; lines this short are appended whole, whichever process writes."""
    with (FOLDER / "ledger.txt").open("a") as file:
        file.write(f"{call} {task_id}\n")


def wait_for_gate() -> None:
    """Last until the shop opens, as a task that takes its time."""
    while not (FOLDER / "gate").exists():
        time.sleep(0.02)
