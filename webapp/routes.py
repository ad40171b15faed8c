"""Every blueprint, in one list."""

from __future__ import annotations

from flask import Flask

from webapp.overview.views import blueprint as overview

BLUEPRINTS = (overview,)


def register_routes(app: Flask) -> None:
    """Add every page to the application."""
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
