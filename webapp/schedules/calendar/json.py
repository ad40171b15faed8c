"""The calendar as JSON values, for programs. Moments are ISO text in UTC, lengths are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.schedules.calendar.context import BurstLine, Firing, WeekView
from webapp.schedules.calendar.past import ByState, Came
from webapp.schedules.calendar.week import Reckoned
from webapp.workers.capacity import Pool


def week_values(view: WeekView, found: Reckoned, past: Mapping[int, ByState]) -> dict[str, Any]:
    """A week: its hours in order, who executes what, and its worst bursts.

    `fires` and `load` are what is ahead, `runs` what has happened by state: null where those are too many.
    """
    hours = [
        {
            "at": cell.at,
            "minutes": cell.hour.minutes,
            "fires": cell.fires,
            "load": round(cell.share, 4),
            "runs": past.get(cell.hour.start, {}),
        }
        for row in view.cells
        for cell in row
        if cell is not None
    ]
    return {
        "hours": sorted(hours, key=lambda values: str(values["at"])),
        "pools": [_pool_values(one.pool) for one in found.load.pools],
        "bursts": [_burst_values(line) for line in view.bursts],
        "burst_count": view.burst_count,
        "left_out": found.load.left_out,
        "matched": found.matched,
    }


def firing_values(row: Firing) -> dict[str, Any]:
    """A schedule that fires in an hour."""
    usual = {"median": row.usual.median, "p95": row.usual.p95, "runs": row.usual.runs}
    return {
        "id": row.schedule.id,
        "name": row.schedule.name,
        "fires": row.fires,
        "times": row.times,
        "usual": usual,
        "calmer": row.calmer,
    }


def came_values(came: Came) -> dict[str, Any]:
    """A schedule that came due in an hour that has passed, or has begun."""
    return {"id": came.schedule_id, "name": came.name, "runs": came.states}


def _pool_values(pool: Pool) -> dict[str, Any]:
    return {"queues": pool.queues, "slots": pool.slots, "known": pool.standing, "workers": pool.workers}


def _burst_values(line: BurstLine) -> dict[str, Any]:
    late, days = round(line.late, 1), [day.isoformat() for day in line.days]
    return {"at": line.at, "fires": line.fires, "own": line.own, "late": late, "days": days, "calmer": line.calmer}
