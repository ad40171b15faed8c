"""Its database."""

from __future__ import annotations

from tests.adoption.projects.flask_shop.app import flask_app
from tests.adoption.projects.flask_shop.models import Base, db

with flask_app.app_context():
    Base.metadata.create_all(db.engine)
