"""Beats on a fresh, migrated database of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask

from tests.scheduler.beats import Rig, rig
from webapp.extensions import celery


@pytest.fixture
def beats(app: Flask) -> Iterator[Rig]:
    """A rig on the application's database, without the schedules that the code defines.

    A module that wants PostgreSQL too overrides `database_url`.
    """
    celery.conf.beat_schedule = {}
    with rig(app.config["SQLALCHEMY_DATABASE_URI"]) as made:
        yield made
