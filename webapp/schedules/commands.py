"""The whole group `flask schedules`: importing this adds the commands of every module to it."""

from __future__ import annotations

from webapp.schedules import transfer_cli
from webapp.schedules.cli import schedules

__all__ = ["schedules", "transfer_cli"]
