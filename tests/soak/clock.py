"""R6: clocks that are set forward and back by an hour.

A process cannot be given a clock of its own without a library that fakes it, and Linux's time namespaces leave the wall
clock alone. Beat takes its clock as an argument, so the test moves that one, with a real database and beat's
real works. Workers pass the time of their host to `claim`, and pages to `create_run`; the test gives
both an hour too much or too little.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import sqlalchemy as sa

from beatdesk.execution.host import Delivery
from tests.scheduler.beats import RUNS, FakeTime, Rig, at
from tests.servers import wait_for
from tests.soak.measure import Measure
from webapp.database.engine import database_now, now
from webapp.run_store import statements
from webapp.run_store.claims import Verdict, claim

HOUR = 3600.0
PERIOD = 10
BEGIN = at("2027-03-01T10:00:00")


def beat_steps(rig: Rig, steps: int) -> list[Measure]:
    """Beat's clock is set forward, back, forward, …; between two steps pass five periods, a second at a time."""
    made = rig.interval("i", PERIOD, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = rig.leading(time)
    fired = [time.passed]
    most = 0
    for step in range(steps):
        before = len(rig.dues(made))
        time.set_clock(HOUR if step % 2 == 0 else -HOUR)
        core.step(woken=True)
        most = max(most, len(rig.dues(made)) - before)
        for _ in range(5 * PERIOD):
            time.pass_by(1)
            known = len(rig.dues(made))
            core.step(woken=True)
            if len(rig.dues(made)) > known:
                fired.append(time.passed)
    dues = rig.dues(made)
    gap = max(later - earlier for earlier, later in pairwise(fired)) / PERIOD
    return [
        Measure("R6", f"beat's clock set by an hour {steps} times: longest gap", gap, " periods", "≤", 2),
        Measure("R6", "caught up at a step forward", most, "", "≤", 1),
        Measure("R6", "due times fired twice", len(dues) - len(set(dues)), "", "=", 0),
    ]


def other_clocks(rig: Rig) -> list[Measure]:
    """A worker and a page whose host's clock is an hour ahead or behind, with two workers alive."""
    taken = taken_for_dead = 0
    created: list[str] = []
    for hours in (1, -1):
        off = timedelta(hours=hours)
        held, other = f"held{hours}", f"other{hours}"
        _run(rig, held, state="queued", created_at=now())
        with rig.engine.begin() as connection:
            assert claim(connection, _delivery(held, "alive"), now()) is Verdict.CLAIMED
            taken += claim(connection, _delivery(held, "skewed"), now() + off) is not Verdict.DUPLICATE
            _run_in(connection, other, state="queued", created_at=now())
            assert claim(connection, _delivery(other, "skewed"), now() + off) is Verdict.CLAIMED
        with rig.engine.connect() as connection:
            clock = connection.execute(sa.select(database_now(connection))).scalar_one()
            taken_for_dead += len(statements.lost_claims(connection, clock, 10))
        created.append(f"created{hours}")
        _run(rig, created[-1], state="queued", created_at=now() + off)
    core = rig.leading(FakeTime(datetime.now(UTC)))

    def sent() -> bool:
        core.step(woken=True)
        return all(run.sent_at for run in rig.runs() if run.id in created)

    wait_for(sent, seconds=10)
    return [
        Measure("R6", "running tasks taken over by a worker an hour off", taken, "", "=", 0),
        Measure("R6", "workers an hour off taken for dead", taken_for_dead, "", "=", 0),
    ]


def _run(rig: Rig, id_: str, **values: object) -> None:
    with rig.engine.begin() as connection:
        _run_in(connection, id_, **values)


def _run_in(connection: sa.Connection, id_: str, **values: object) -> None:
    connection.execute(sa.insert(RUNS).values(id=id_, task="add", args="[1, 2]", kwargs="{}", **values))


def _delivery(run_id: str, worker: str) -> Delivery:
    return Delivery(run_id, "add", "[1, 2]", "{}", 0, worker, worker)
