"""Serializes the calendar as JSON values. Moments are ISO 8601 text in UTC, durations are seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.schedules.calendar.context import BurstTime, Firing, WeekView
from webapp.schedules.calendar.past import ByState, PastRuns
from webapp.schedules.calendar.week import CalendarLoad
from webapp.workers.capacity import Pool


def week_values(view: WeekView, found: CalendarLoad, past: Mapping[int, ByState]) -> dict[str, Any]:
    """A week: its hours in order, the pools of workers, and the worst spikes.

    `fires` and `load` are about coming runs, `runs` counts past runs by state: null if there are too many.
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
        "bursts": [_burst_values(burst) for burst in view.bursts],
        "burst_count": view.burst_count,
        "left_out": found.load.left_out,
        "matched": found.matched,
    }


def firing_values(row: Firing) -> dict[str, Any]:
    """A schedule that fires in an hour or minute."""
    usual = {"median": row.usual.median, "p95": row.usual.p95, "runs": row.usual.runs}
    return {
        "id": row.schedule.id,
        "name": row.schedule.name,
        "fires": row.fires,
        "times": row.times,
        "usual": usual,
        "calmer": row.calmer,
    }


def came_values(past: PastRuns) -> dict[str, Any]:
    """A schedule with past runs in an hour or minute."""
    return {"id": past.schedule_id, "name": past.name, "runs": past.states}


def _pool_values(pool: Pool) -> dict[str, Any]:
    return {"queues": pool.queues, "slots": pool.slots, "known": pool.standing, "workers": pool.workers}


def _burst_values(burst: BurstTime) -> dict[str, Any]:
    late, days = round(burst.late, 1), [day.isoformat() for day in burst.days]
    return {"at": burst.at, "fires": burst.fires, "own": burst.own, "late": late, "days": days, "calmer": burst.calmer}
