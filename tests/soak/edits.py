"""R13: edits, each by one of several ways, and how soon beat has each in force."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import time_machine

from tests.scheduler.beats import Rig
from tests.servers import wait_for
from tests.soak.measure import Measure
from tests.soak.scene import Scene
from webapp.database.engine import now
from webapp.schedules import service

SCHEDULES = 100
# Seconds after which an edit that is not in force is given up.
PATIENCE = 60
EVERYTHING = 20  # Each so many edits one is of all schedules, by SQL.


def in_force(scene: Scene, rig: Rig, *, edits: int) -> list[Measure]:
    """A page, a host whose clock is an hour ahead or behind, and SQL, also of all schedules at once, edit in turn.

    At the end all schedules come due at once, so that their runs show what beat really had in force.
    """
    chosen = [rig.interval(f"s{number}", 3600, saved=now(), args="[0, 0]") for number in range(SCHEDULES)]
    scene.beat()
    wait_for(lambda: _beat(rig) >= _latest(rig) > 0, seconds=60, message="no beat has loaded the schedules")
    wanted = dict.fromkeys(chosen, "[0, 0]")
    took: dict[str, list[float]] = {}
    for number in range(edits):
        args = json.dumps([number, number])
        way, edit, edited = _edit(rig, chosen, number, args)
        edit()
        begun = time.monotonic()
        latest = _latest(rig)
        wait_for(lambda latest=latest: _beat(rig) >= latest, seconds=PATIENCE, message="an edit is not in force")  # type: ignore[misc]
        took.setdefault(way, []).append(time.monotonic() - begun)
        wanted.update(dict.fromkeys(edited, args))
    by_themselves = len(_runs(rig, chosen))
    rig.execute("UPDATE celery_intervalschedule SET every = 1")
    wait_for(lambda: len({run.schedule_id for run in _runs(rig, chosen)}) == SCHEDULES, seconds=PATIENCE)
    rig.execute("UPDATE celery_periodictask SET enabled = false")
    old = sum(json.loads(run.args) != json.loads(wanted[run.schedule_id]) for run in _runs(rig, chosen))
    waits = sorted(wait for found in took.values() for wait in found)
    return [
        Measure("R13", f"of {edits} edits in force within 1 s", sum(wait <= 1 for wait in waits), "", "=", edits),
        *(Measure("R13", f"longest {way}", max(found), " s") for way, found in took.items()),
        Measure("R13", "median of all", waits[len(waits) // 2], " s"),
        Measure("R13", "runs that an edit caused by itself", by_themselves, "", "=", 0),
        Measure("R13", "runs with other arguments than were last saved", old, "", "=", 0),
    ]


def _edit(rig: Rig, chosen: list[int], number: int, args: str) -> tuple[str, Callable[[], object], list[int]]:
    """The way of an edit, what to call for it, and which schedules it changes."""
    one = chosen[number * 7 % len(chosen)]
    if number % EVERYTHING == 0:
        everything = "UPDATE celery_periodictask SET args = :args WHERE task = 'add'"
        return "by SQL, of all at once", lambda: rig.execute(everything, args=args), chosen
    if number % 3 == 0:
        return "by a page of a host whose clock is off", lambda: _skewed(one, args, 1 if number % 2 else -1), [one]
    if number % 3 == 1:
        statement = "UPDATE celery_periodictask SET args = :args WHERE id = :one"
        return "by SQL", lambda: rig.execute(statement, args=args, one=one), [one]
    return "by a page", lambda: service.save(one, {"args": args}), [one]


def _skewed(schedule_id: int, args: str, hours: int) -> None:
    with time_machine.travel(now() + timedelta(hours=hours), tick=True):
        service.save(schedule_id, {"args": args})


def _runs(rig: Rig, chosen: list[int]) -> list[Any]:
    return [run for run in rig.runs() if run.schedule_id in chosen]


def _latest(rig: Rig) -> int:
    return _number(rig, "SELECT revision FROM schedule_revision")


def _beat(rig: Rig) -> int:
    return _number(rig, 'SELECT coalesce(max(revision), 0) FROM beats WHERE "leading"')


def _number(rig: Rig, query: str) -> int:
    with rig.engine.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())
