"""Binds the Celery app to the Flask app."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from celery import signals
from flask import Flask

from beatdesk.secrecy.log_text import escape_in
from webapp.config import ConfigError, Settings
from webapp.extensions import celery
from webapp.messaging import installation
from webapp.messaging.celery_config import SERIALIZER, celery_settings
from webapp.messaging.producers import connect, drop
from webapp.messaging.time_limits import DefaultLimits

# Instead of Celery's own.
BACKENDS = dict.fromkeys(("redis", "rediss"), "webapp.messaging.result_backend:Results")


def init_celery(app: Flask, settings: Settings) -> None:
    """Configure the one Celery app, and give its tasks the Flask app.

    Tasks are imported when the worker, beat or the registry first needs them, so that building the web application
    imports no tasks.
    """
    celery.conf.update(celery_settings(settings))
    # Queues are made from the settings at their first use; those of an earlier application would stay.
    celery.__dict__.pop("amqp", None)
    # By name: the class is only imported where results are written or read.
    celery.loader.override_backends = BACKENDS
    celery.steps["worker"].add(DefaultLimits)
    celery.flask_app = app
    celery.set_default()
    # All but the last take part in what happens in a worker.
    celery.conf.imports = (
        "webapp.worker_process.children",
        "webapp.worker_process.consumption",
        "webapp.worker_process.host",
        "webapp.worker_process.task_bases",
        "beatdesk.execution.main_process",
        "beatdesk.execution.task_output",
        "beatdesk.execution.publishing",
        *settings.task_modules,
    )
    celery.loader.import_task_module = partial(_import_task_module, frozenset(settings.task_modules))
    app.extensions["celery"] = celery


def _import_task_module(named: frozenset[str], module: str) -> Any:
    """As the loader does; an error in a module of TASK_MODULES becomes a ConfigError."""
    loader = celery.loader
    try:
        return type(loader).import_task_module(loader, module)
    except Exception as error:
        if module not in named:
            raise
        raise ConfigError(
            f"TASK_MODULES names {module}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        # A project that makes a Celery app of its own makes it the current one.
        celery.set_current()
        celery.set_default()


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _escape_control_characters(logger: logging.Logger, **_: Any) -> None:
    """Keep the text of a task from looking like another record in the log of a worker or beat."""
    for handler in logger.handlers:
        escape_in(handler)


@signals.worker_init.connect
def _prepare_worker(sender: Any, **_: Any) -> None:
    """Refuse servers of another installation, and accept JSON whatever a task module has configured."""
    conf = sender.app.conf
    installation.require(conf.beat_redis_url, lambda: drop(connect(sender.app)))
    conf.accept_content = sorted({*conf.accept_content, SERIALIZER})
