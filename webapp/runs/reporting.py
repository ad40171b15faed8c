"""The former name of `beatdesk.execution.reporting`, for tasks that import it from here; goes with the next release."""

from __future__ import annotations

from beatdesk.execution.reporting import log, progress

__all__ = ["log", "progress"]
