"""What the templates of one schedule are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.database import now
from webapp.people.zones import zone_names
from webapp.registry import known_tasks
from webapp.schedules import history, in_force, listing
from webapp.schedules.forms import CHOICES, moment_type
from webapp.schedules.preview import COUNT, Preview
from webapp.schedules.stored import Stored

RUNS_SHOWN = 10


def editor_context(
    values: Mapping[str, str], schedule: Stored | None, preview: Preview | None, errors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """For the form: its values as text, its choices, what is wrong, and what it would do."""
    return {
        "values": values,
        "schedule": schedule,
        "preview": preview,
        "errors": errors or {},
        "tasks": [
            (task.name, f"{task.name} — {task.summary}" if task.summary else task.name)
            for task in known_tasks().values()
        ],
        "zones": zone_names(),
        "choices": CHOICES,
        "moment_type": moment_type,
        "now": now(),
    }


def detail_context(schedule: Stored, values: Mapping[str, str]) -> dict[str, Any]:
    """For the page of one schedule."""
    moment = now()
    due = schedule.due_times(moment, COUNT)
    return editor_context(values, schedule, Preview()) | {
        "unchanged": True,
        "due": due,
        "next_due_at": listing.next_due(schedule, moment),
        "standing": in_force.judge(schedule, in_force.present_beats(moment), moment),
        "runs": listing.recent_runs([schedule.id], RUNS_SHOWN).get(schedule.id, []),
        "versions": history.versions(schedule.id),
        "now": moment,
    }
