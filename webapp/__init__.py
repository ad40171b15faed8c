"""Beatdesk: an admin for Celery. `create_app` builds the web application; importing this builds nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beatdesk import __version__

if TYPE_CHECKING:
    from flask import Flask

    from webapp.config import Settings

__all__ = ["__version__", "create_app"]


def create_app(config: Settings | None = None) -> Flask:
    """Build the application from the given settings, or from the environment.

    Raises ConfigError for a setting that cannot work.
    """
    # Imported here: beat, the launcher and the tests of pure code import this package without needing Flask.
    from webapp.factory import build

    return build(config)
