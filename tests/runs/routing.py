"""A project's own router for `task_routes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from webapp.extensions import celery


@contextmanager
def routed(route: Callable[..., Any]) -> Iterator[None]:
    """With this router for every task."""
    before = celery.conf.task_routes
    _use((route,))
    try:
        yield
    finally:
        _use(before)


def _use(routes: Any) -> None:
    celery.conf.task_routes = routes
    celery.amqp.flush_routes()
    celery.amqp.router = celery.amqp.Router()
