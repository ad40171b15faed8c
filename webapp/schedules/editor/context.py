"""The context of the templates of one schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import own_tasks
from webapp.recurrence.zone_search import zone_options
from webapp.run_store import sending
from webapp.run_store.skipping import skipped_ahead
from webapp.runs.call import forms
from webapp.schedule_store.definition import TARGETS
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.status import status_of
from webapp.schedule_store.stored import Stored
from webapp.schedules import drift, history, in_force
from webapp.schedules.editor import crontab_builder, crontab_parser
from webapp.schedules.editor.explanation import crontab_parts, zone_words
from webapp.schedules.editor.forms import CHOICES, moment_type
from webapp.schedules.editor.preview import COUNT, Preview, unchanged
from webapp.schedules.holds import hold, hold_at, next_firing
from webapp.schedules.list import recent_runs
from webapp.schedules.pausing import service
from webapp.task_catalogue.registry import is_unknown, known_tasks

RUNS_SHOWN = 10


def editor_context(
    values: Mapping[str, str],
    schedule: Stored | None,
    preview: Preview | None,
    errors: Mapping[str, str] | None = None,
    built: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The context of the form: its values as text, its choices, its errors, and the preview.

    `built` are the choices made in the crontab builder.
    """
    moment = now()
    task_name = values.get("task", "")
    return {
        "values": values,
        "schedule": schedule,
        "preview": preview,
        "errors": errors or {},
        "call": forms.from_typed(values.get("task", ""), values),
        "tasks": [
            (task.name, f"{task.name} — {task.summary}" if task.summary else task.name)
            for task in known_tasks().values()
            if own_tasks.allowed(task.name)
        ]
        # The schedule's task may no longer be known; it stays selected.
        + ([(task_name, f"{task_name} — task unknown")] if is_unknown(task_name) else []),
        "zone_options": zone_options(moment),
        "zone_words": zone_words(values.get("timezone", ""), moment),
        "parts": crontab_parts(values.get("crontab", "")),
        "built": crontab_parser.shown(values.get("crontab", ""), built),
        "builder": crontab_builder,
        "choices": CHOICES,
        "moment_type": moment_type,
        "now": moment,
    }


def visible_errors(preview: Preview, values: Mapping[str, str], *, tried: bool) -> dict[str, str]:
    """The errors to show while the form is filled in: empty fields count only once the user has tried to save."""
    about_all = {"", "kind"}
    return {
        name: text
        for name, text in preview.errors.items()
        if tried or name in about_all or values.get(name, "").strip()
    }


def detail_context(schedule: Stored, values: Mapping[str, str]) -> dict[str, Any]:
    """The context of a schedule's page."""
    moment, pauses = now(), unsettled(db.session)
    return editor_context(values, schedule, unchanged(schedule, moment)) | {
        "unchanged": True,
        "aim": sending.destination_of(*(getattr(schedule.row, name) for name in ("task", "queue", *TARGETS))),
        "run_call": forms.from_json(schedule.row.task, values["args"], values["kwargs"]),
        "drift": drift.drifted(schedule),
        "hold": (held := hold_at(schedule, moment, pauses)),
        "schedule_status": status_of(schedule, held=held is not None),
        "meanwhile": service.meanwhile_own(schedule),
        "resume_words": list(service.RESUME_WORDS.items()),
        "standing": in_force.judge(schedule, in_force.present_beats(moment), moment),
        **progress_context(schedule, moment, pauses),
        "versions": history.versions(schedule.id),
        "now": moment,
    }


def progress_context(schedule: Stored, moment: datetime, pauses: Sequence[Pause]) -> dict[str, Any]:
    """The context of the parts that each run changes: the last runs and the next due times."""
    due = schedule.due_times(moment, COUNT)
    skipped = skipped_ahead([schedule.id], moment).get(schedule.id, set())
    next_due_at = next_firing(schedule, moment, pauses, skipped)
    return {
        "schedule": schedule,
        "runs": _last_runs(schedule, moment),
        "strip": recent_runs.recent_states([schedule.id], moment).get(schedule.id, []),
        "due": due,
        "skipped": skipped,
        "held": {one.utc: held.told for one in due if (held := hold(schedule, one.utc, pauses))},
        "next_due_at": next_due_at,
        "next_fires_at": None if next_due_at is None else schedule.fires_at(next_due_at),
    }


def _last_runs(schedule: Stored, now: datetime) -> list[recent_runs.LastRun]:
    """The last scheduled and manual runs together, newest first."""
    due = recent_runs.recent_runs([schedule.id], now, RUNS_SHOWN).get(schedule.id, [])
    together = [*due, *recent_runs.manual_runs(schedule.id, RUNS_SHOWN)]
    return sorted(together, key=lambda run: run.due_at or run.created_at, reverse=True)[:RUNS_SHOWN]
