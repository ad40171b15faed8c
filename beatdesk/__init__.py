"""What a Celery project installs beside its tasks: what happens around a task. Imports celery and redis alone.

import beatdesk

beatdesk.adopt(app)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beatdesk.adoption import adopt
    from beatdesk.execution.reporting import log, progress

__all__ = ["adopt", "log", "progress"]

_ROOMS = {"adopt": "adoption", "log": "execution.reporting", "progress": "execution.reporting"}


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: the package's own command must begin quickly."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"beatdesk.{_ROOMS[name]}"), name)
