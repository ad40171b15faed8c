"""Every blueprint, in one list."""

from __future__ import annotations

from flask import Flask

from webapp.mail.views import blueprint as mail
from webapp.overview.theme import blueprint as theme
from webapp.overview.views import blueprint as overview
from webapp.schedules.views import blueprint as schedules

BLUEPRINTS = (overview, theme, mail, schedules)


def register_routes(app: Flask) -> None:
    """Add every page to the application."""
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
