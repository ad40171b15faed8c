"""A task with a time limit has exactly that limit; the others have the defaults."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery, Task

from webapp.config import ConfigError, Settings
from webapp.messaging.time_limits import Limits, limits_of

DEFAULT = Limits(hard=270, soft=240)


class Patient(Task):
    """A base with a limit."""

    time_limit = 3600


class Unlimited(Task):
    """A base that says that there is none."""

    soft_time_limit = None


def nothing() -> None:
    """What the tasks do."""


@pytest.fixture
def celery_app() -> Any:
    with Celery(set_as_current=False) as app:
        app.conf.task_time_limit, app.conf.task_soft_time_limit = DEFAULT
        app.conf.task_annotations = {"annotated": {"time_limit": 7}}
        yield app


@pytest.mark.parametrize(
    ("options", "message", "expected"),
    [
        ({}, None, DEFAULT),
        ({}, [None, None], DEFAULT),
        ({"time_limit": 2}, [None, None], (2, None)),
        ({"time_limit": 3600}, [3600, None], (3600, None)),
        ({"soft_time_limit": 3600}, None, (None, 3600)),
        ({"soft_time_limit": 5, "time_limit": 8}, None, (8, 5)),
        ({"time_limit": None}, None, (None, None)),
        ({"time_limit": 0}, None, (None, None)),
        ({"base": Patient}, None, (3600, None)),
        ({"base": Patient, "soft_time_limit": 5}, None, (3600, 5)),
        ({"base": Unlimited}, None, (None, None)),
        ({"name": "annotated"}, None, (7, None)),
        ({"name": "annotated", "soft_time_limit": 3}, None, (7, 3)),
        # What the sender says wins, each by itself.
        ({}, [3600, None], (3600, None)),
        ({}, [None, 20], (None, 20)),
        ({}, [0, None], (None, None)),
        ({}, [-1, None], (None, None)),
        ({"time_limit": 2}, [0, None], (None, None)),
        ({"time_limit": 30, "soft_time_limit": 10}, [None, 20], (30, 20)),
        # Prefork begins to count towards the hard limit at the soft one.
        ({"soft_time_limit": 60}, [2, None], (2, None)),
        ({"soft_time_limit": 5, "time_limit": 5}, None, (5, None)),
    ],
)
def test_limits_of_a_run(celery_app: Celery, options: Any, message: Any, expected: tuple[Any, Any]) -> None:
    task = celery_app.task(nothing, lazy=False, shared=False, **options)
    assert limits_of(task, message, DEFAULT) == expected


def test_remote_control_sets_the_limits_of_a_task(celery_app: Celery) -> None:
    task = celery_app.task(nothing, lazy=False, shared=False)
    task.time_limit = 9
    assert limits_of(task, None, DEFAULT) == (9, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (240, 270)),
        ({"TASK_TIME_LIMIT": "60"}, (None, 60)),
        ({"TASK_SOFT_TIME_LIMIT": "600"}, (600, None)),
        ({"TASK_SOFT_TIME_LIMIT": "0"}, (None, None)),
        ({"TASK_SOFT_TIME_LIMIT": "none", "TASK_TIME_LIMIT": "7200"}, (None, 7200)),
    ],
)
def test_defaults_are_settings(given: dict[str, str], expected: tuple[Any, Any]) -> None:
    settings = Settings.from_env({"SECRET_KEY": "0123456789abcdef", "REDIS_URL": "redis://localhost", **given})
    assert (settings.task_soft_time_limit, settings.task_time_limit) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"TASK_TIME_LIMIT": "-1"},
        {"TASK_TIME_LIMIT": "5m"},
        {"TASK_SOFT_TIME_LIMIT": "60", "TASK_TIME_LIMIT": "60"},
    ],
)
def test_defaults_that_cannot_work_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="TASK_"):
        Settings.from_env({"SECRET_KEY": "0123456789abcdef", "REDIS_URL": "redis://localhost", **given})
