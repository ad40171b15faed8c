"""What the templates of one schedule are given."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from webapp.database import now
from webapp.people.zones import zone_names
from webapp.registry import known_tasks
from webapp.runs.skipping import skipped_ahead
from webapp.schedules import drift, history, in_force, listing, recent
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
    skipped = skipped_ahead([schedule.id], moment).get(schedule.id, set())
    return editor_context(values, schedule, Preview()) | {
        "unchanged": True,
        "due": due,
        "skipped": skipped,
        "drift": drift.drifted(schedule),
        "next_due_at": listing.next_due(schedule, moment, skipped),
        "standing": in_force.judge(schedule, in_force.present_beats(moment), moment),
        "runs": _last_runs(schedule, moment),
        "strip": recent.recent_states([schedule.id], moment).get(schedule.id, []),
        "versions": history.versions(schedule.id),
        "now": moment,
    }


def _last_runs(schedule: Stored, now: datetime) -> list[recent.LastRun]:
    """Due ones and those by hand together, newest first."""
    due = recent.recent_runs([schedule.id], now, RUNS_SHOWN).get(schedule.id, [])
    together = [*due, *recent.runs_by_hand(schedule.id, RUNS_SHOWN)]
    return sorted(together, key=lambda run: run.due_at or run.created_at, reverse=True)[:RUNS_SHOWN]
