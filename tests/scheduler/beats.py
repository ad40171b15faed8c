"""A beat for tests: on a real database and Valkey, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat import models as library

from webapp.database.engine import create_engine
from webapp.extensions import celery
from webapp.run_store.models import Run
from webapp.schedule_store.beat_models import ScheduleProgress
from webapp.schedule_store.models import ScheduleDetail
from webapp.scheduler.clock import Clock
from webapp.scheduler.core import Core

TASKS: sa.Table = library.PeriodicTask.__table__
DETAILS: sa.Table = ScheduleDetail.__table__  # type: ignore[assignment]
PROGRESS: sa.Table = ScheduleProgress.__table__  # type: ignore[assignment]
RUNS: sa.Table = Run.__table__  # type: ignore[assignment]


def at(text: str) -> datetime:
    """A moment; UTC where the text names no offset."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class FakeTime:
    """A wall clock and a monotonic one, moved by hand."""

    def __init__(self, start: datetime) -> None:
        self.wall_now = start.timestamp()
        self.passed = 1000.0
        self.clock = Clock(lambda: self.wall_now, lambda: self.passed)

    def pass_by(self, seconds: float) -> None:
        """Let time go by."""
        self.wall_now += seconds
        self.passed += seconds

    def go_to(self, epoch: float) -> None:
        """Let time go by until a moment."""
        self.pass_by(max(epoch - self.wall_now, 0.0))

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock forward or back, while no time goes by."""
        self.wall_now += seconds


class Rig:
    """A database with schedules, and beats on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(url)
        self._cores: list[Core] = []
        celery.loader.import_default_modules()

    def close(self) -> None:
        for core in self._cores:
            core.observer.close()
            core.publisher.close(5)
            core.engine.dispose()
        self.engine.dispose()

    def beat(self, time: FakeTime | None = None, redis_url: str | None = None) -> Core:
        """A beat; it has done nothing yet."""
        core = Core(celery, self.url, redis_url, time.clock if time else None)
        self._cores.append(core)
        return core

    def leading(self, time: FakeTime, redis_url: str | None = None) -> Core:
        """A beat that leads. The former one is taken for dead."""
        self.execute("UPDATE beat_lease SET holder = NULL, expires_at = NULL")
        core = self.beat(time, redis_url)
        core.step(woken=True)
        assert core.lease.held
        return core

    def execute(self, statement: str, **values: Any) -> None:
        """Run SQL, as another program may."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def rule(self, table: str, **values: Any) -> int:
        """A row of `interval`, `crontab`, `solar` or `clocked`."""
        model = getattr(library, f"{table.capitalize()}Schedule")
        with self.engine.begin() as connection:
            made: int = connection.execute(sa.insert(model.__table__).values(**values).returning(model.id)).scalar_one()
        return made

    def add(
        self,
        name: str,
        kind: str,
        rule: dict[str, Any],
        *,
        saved: datetime,
        details: dict[str, Any] | None = None,
        **task: Any,
    ) -> int:
        """A schedule that was saved at a moment."""
        values = {"task": "add", "args": "[1, 2]", "kwargs": "{}", **task}
        values |= {"discriminator": f"{kind}schedule", "schedule_id": self.rule(kind, **rule)}
        with self.engine.begin() as connection:
            made: int = connection.execute(
                sa.insert(TASKS).values(name=name, **values).returning(TASKS.c.id)
            ).scalar_one()
            if details:
                connection.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == made).values(**details))
        self.saved(made, saved)
        return made

    def crontab(self, name: str, line: str, *, saved: datetime, timezone: str = "UTC", **more: Any) -> int:
        """A schedule by a line of five fields."""
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        fields = dict(zip(names, line.split(), strict=True))
        return self.add(name, "crontab", {**fields, "timezone": timezone}, saved=saved, **more)

    def interval(self, name: str, every: int, *, saved: datetime, period: str = "seconds", **more: Any) -> int:
        """A schedule by an interval."""
        return self.add(name, "interval", {"every": every, "period": period}, saved=saved, **more)

    def saved(self, schedule_id: int, moment: datetime) -> None:
        """Pretend that a schedule was changed last at that moment."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == schedule_id).values(changed_at=moment))

    def edit(self, schedule_id: int, moment: datetime, /, **values: Any) -> None:
        """Edit a schedule's row at a moment."""
        with self.engine.begin() as connection:
            connection.execute(sa.update(TASKS).where(TASKS.c.id == schedule_id).values(**values))
            connection.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == schedule_id).values(changed_at=moment))

    def runs(self, schedule_id: int | None = None, state: str | None = None) -> list[Any]:
        """The runs, by due time."""
        statement = sa.select(RUNS).order_by(RUNS.c.due_at, RUNS.c.created_at)
        if schedule_id is not None:
            statement = statement.where(RUNS.c.schedule_id == schedule_id)
        if state is not None:
            statement = statement.where(RUNS.c.state == state)
        with self.engine.connect() as connection:
            return list(connection.execute(statement))

    def dues(self, schedule_id: int, state: str = "queued") -> list[datetime]:
        """The due times of runs in a state."""
        return [run.due_at for run in self.runs(schedule_id, state)]

    def enabled(self, schedule_id: int) -> bool:
        with self.engine.connect() as connection:
            return bool(connection.execute(sa.select(TASKS.c.enabled).where(TASKS.c.id == schedule_id)).scalar_one())

    def progress(self, schedule_id: int) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(PROGRESS).where(PROGRESS.c.schedule_id == schedule_id)).one_or_none()

    def end_runs(self, schedule_id: int) -> None:
        """As if a worker had executed them all."""
        with self.engine.begin() as connection:
            chosen = (RUNS.c.schedule_id == schedule_id, RUNS.c.state == "queued")
            connection.execute(sa.update(RUNS).where(*chosen).values(state="succeeded"))


@contextmanager
def rig(url: str) -> Iterator[Rig]:
    """A rig that is taken down."""
    made = Rig(url)
    try:
        yield made
    finally:
        made.close()


def drive(core: Core, time: FakeTime, until: datetime) -> None:
    """Let a leading beat fire everything until a moment, going from due time to due time."""
    end = until.timestamp()
    while (due := core.agenda.next_at()) is not None and due <= end:
        time.go_to(due)
        core.firing.fire(lambda: True)
    time.go_to(end)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def next_hour(moment: datetime) -> datetime:
    """The next full hour: an hour from now may be less than a second before the one after it."""
    return moment.replace(minute=0, second=0, microsecond=0) + hours(1)
