"""Exports a rehearsal as JSON values and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from webapp.runs.list.export import harmless
from webapp.schedule_store.definition import due_values, iso
from webapp.schedules.inquiries.rehearsal import MAX_EXPORTED, Fire, Rehearsal, RehearsedSchedule

JSON_FIRES = 1_000
COLUMNS = ("utc", "local", "timezone", "schedule", "name", "task", "runs", "note")


def rehearsal_values(found: Rehearsal) -> dict[str, Any]:
    """The first due times in order, and each schedule with its notes. Moments are ISO 8601 text in UTC."""
    return {
        "total": found.total,
        "fires": [_fire_values(fire) for fire in found.fires(JSON_FIRES)],
        "schedules": [_schedule_values(one) for one in found.rehearsed],
        "cut": found.cut,
        "left_out": found.left_out,
    }


def _fire_values(fire: Fire) -> dict[str, Any]:
    values = due_values(fire.due) | {"schedule": fire.schedule.id, "name": fire.schedule.name}
    return values | ({"held": fire.held} if fire.held else {})


def _schedule_values(one: RehearsedSchedule) -> dict[str, Any]:
    return {
        "id": one.schedule.id,
        "name": one.schedule.name,
        "fires": one.fires,
        "held": one.held,
        "first": iso(one.first),
        "last": iso(one.last),
        "notes": [_fire_values(fire) for fire in one.notes],
    }


def rehearsal_csv(found: Rehearsal) -> str:
    """CSV with a row for each due time, in order. If there are more than MAX_EXPORTED, the last row says so."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    fires = found.fires(MAX_EXPORTED + 1)
    for fire in fires[:MAX_EXPORTED]:
        schedule, due = fire.schedule, fire.due
        row = (iso(due.utc), due.local.isoformat(), schedule.timezone, schedule.id, schedule.name, schedule.row.task)
        writer.writerow([harmless(value) for value in (*row, "no" if fire.held else "yes", fire.held or due.note)])
    if len(fires) > MAX_EXPORTED:
        writer.writerow([f"Only the first {MAX_EXPORTED:,} runs are exported. Choose a shorter period."])
    return buffer.getvalue()
