"""A rehearsal for programs: as JSON values, and as a table that spreadsheets read."""

from __future__ import annotations

import csv
import io
from typing import Any

from webapp.runs.list.export import harmless
from webapp.schedule_store.definition import due_values, iso
from webapp.schedules.inquiries.rehearsal import MOST_EXPORTED, Fire, Line, Rehearsal

JSON_FIRES = 1_000
COLUMNS = ("utc", "local", "timezone", "schedule", "name", "task", "runs", "note")


def rehearsal_values(found: Rehearsal) -> dict[str, Any]:
    """The first due times in order, and each schedule with what is special about it. Moments are ISO text in UTC."""
    return {
        "total": found.total,
        "fires": [_fire_values(fire) for fire in found.fires(JSON_FIRES)],
        "schedules": [_line_values(line) for line in found.lines],
        "cut": found.cut,
        "left_out": found.left_out,
    }


def _fire_values(fire: Fire) -> dict[str, Any]:
    values = due_values(fire.due) | {"schedule": fire.schedule.id, "name": fire.schedule.name}
    return values | ({"held": fire.held} if fire.held else {})


def _line_values(line: Line) -> dict[str, Any]:
    return {
        "id": line.schedule.id,
        "name": line.schedule.name,
        "fires": line.fires,
        "held": line.held,
        "first": iso(line.first),
        "last": iso(line.last),
        "notes": [_fire_values(fire) for fire in line.notes],
    }


def rehearsal_csv(found: Rehearsal) -> str:
    """One line a due time, in order; the last line says so when there are more than may be exported."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    fires = found.fires(MOST_EXPORTED + 1)
    for fire in fires[:MOST_EXPORTED]:
        schedule, due = fire.schedule, fire.due
        row = (iso(due.utc), due.local.isoformat(), schedule.timezone, schedule.id, schedule.name, schedule.row.task)
        writer.writerow([harmless(value) for value in (*row, "no" if fire.held else "yes", fire.held or due.note)])
    if len(fires) > MOST_EXPORTED:
        writer.writerow([f"Only the first {MOST_EXPORTED:,} runs are exported. Choose a shorter period."])
    return buffer.getvalue()
