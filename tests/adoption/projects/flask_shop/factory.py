"""The factory, and Celery with the application's context around each task."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery, Task
from flask import Flask

from tests.adoption.projects.flask_shop.models import db


def celery_init_app(app: Flask) -> Celery:
    """As in Flask's documentation, "Background Tasks with Celery"."""

    class FlaskTask(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app


def create_app() -> Flask:
    """The application."""
    app = Flask("flask_shop")
    broker = os.environ["SHOP_BROKER"]
    app.config.from_mapping(
        SHOP_NAME="Corner shop",
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{Path(os.environ['SHOP_FOLDER']).absolute() / 'shop.db'}",
        SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 30}},
        CELERY={
            "broker_url": broker,
            "broker_connection_retry_on_startup": True,
            "broker_transport_options": {"visibility_timeout": 1} if broker.startswith("redis") else {},
            "task_ignore_result": True,
            "include": ["tests.adoption.projects.flask_shop.tasks"],
            "beat_schedule": {"tick": {"task": "flask_shop.record", "schedule": 1.0, "args": ["own"]}},
        },
    )
    app.config.from_prefixed_env()
    db.init_app(app)
    celery_init_app(app)
    return app
