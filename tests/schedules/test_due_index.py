"""The roster that the database grouped equals the one that was read row by row."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedules import service
from webapp.schedules.calendar import grouping
from webapp.schedules.calendar.due_index import DueIndex

pytestmark = pytest.mark.each_database


WISHES: tuple[dict[str, Any], ...] = (
    {},
    {"args": [3, 4]},
    {"timezone": "Asia/Kathmandu"},
    {"crontab": "30 2 * * *"},
    {"crontab": "30 2 * * *", "jitter": 60},
    {"crontab": "30 2 * * *", "jitter": 60},
    {"queue": "mail"},
    {"tags": ["nightly"]},
    {"kind": "interval", "every": 2, "period": "hours"},
    {"kind": "solar", "event": "sunset", "latitude": 27.7, "longitude": 85.3},
    {"max_runs": 3},
    {"end": "2060-01-01T00:00:00Z"},
    {"enabled": False},
)
# As other programs may write them: arguments that are no JSON, an unknown task, a priority that does not exist.
BROKEN: tuple[dict[str, Any], ...] = (
    {"args": "nothing"},
    {"kwargs": "[]"},
    {"headers": "{"},
    {"task": "gone"},
    {"priority": 77},
    {"exchange": "unacked"},
    {"routing_key": "chord-unlock-1"},
    {"schedule_id": 0},
)
# As they go elsewhere: both together decide that, one of them does not.
AIMED: tuple[dict[str, Any], ...] = (
    {"exchange": "events"},
    {"exchange": "events", "routing_key": "sums"},
    {"exchange": "events", "routing_key": "totals"},
)


def test_gathered_by_the_database_it_is_the_same(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"task": "add", "kind": "crontab", "crontab": "0 * * * *", "args": [1, 2], "timezone": "UTC"}
    with app.app_context():
        made = [service.create({**base, "name": f"n{place}", **wish}).id for place, wish in enumerate(WISHES)]
        paused = service.create({**base, "name": "paused"})
        service.pause(paused.id)
        for place, wrong in enumerate(BROKEN):
            number = service.create({**base, "name": f"broken {place}"}).id
            db.session.execute(sa.update(PeriodicTask).where(PeriodicTask.id == number).values(wrong))
        for place, aim in enumerate(AIMED):
            number = service.create({**base, "name": f"aimed {place}"}).id
            db.session.execute(sa.update(PeriodicTask).where(PeriodicTask.id == number).values(aim))
        db.session.commit()
        gathered, one_by_one = DueIndex(), DueIndex()
        moment = now()
        gathered.refresh(db.session.connection(), moment)
        monkeypatch.setattr(grouping, "MAX_GROUPS", 0)
        one_by_one.refresh(db.session.connection(), moment)
        assert gathered.groups == one_by_one.groups
        # All but the disabled one, and the paused one besides.
        assert len(gathered) == len(made) + len(AIMED)
        assert {group.aim.routing_key for group in gathered.groups} == {"beatdesk", "mail", "sums", "totals"}
        db.session.remove()
