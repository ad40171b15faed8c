"""The whole group `flask schedules`: importing this adds the commands of every module to it."""

from __future__ import annotations

from webapp.schedules.cli.stored import schedules
from webapp.schedules.transfer import cli as transfer_cli

__all__ = ["schedules", "transfer_cli"]
