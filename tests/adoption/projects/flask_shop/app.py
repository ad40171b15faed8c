"""`celery -A tests.adoption.projects.flask_shop.app worker`: Flask's documentation calls it make_celery."""

from __future__ import annotations

from tests.adoption.projects.flask_shop.factory import create_app

flask_app = create_app()
celery_app = flask_app.extensions["celery"]
