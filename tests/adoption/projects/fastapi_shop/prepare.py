"""Its database and its schedules, as the library's documentation says."""

from __future__ import annotations

import json

from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask
from sqlalchemy_celery_beat.session import SessionManager

from tests.adoption.projects.fastapi_shop.app import DATABASE
from tests.adoption.projects.fastapi_shop.models import Base, engine

Base.metadata.create_all(engine)
manager = SessionManager()
library, session_of = manager.create_session(DATABASE)
manager.prepare_models(library)
with session_of() as session:
    every_second = IntervalSchedule(every=1, period=Period.SECONDS)
    session.add(every_second)
    session.flush()
    session.add(
        PeriodicTask(name="tick", task="fastapi_shop.record", args=json.dumps(["own"]), schedule_model=every_second)
    )
    session.commit()
