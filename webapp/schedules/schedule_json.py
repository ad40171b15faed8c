"""Serializes schedules as JSON values, for the API and the command line."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.definition import iso
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.stored import Stored
from webapp.schedules.list.listing import Listed, with_runs
from webapp.task_catalogue.registry import call_note, is_unknown


def schedule_values(schedule: Stored) -> dict[str, Any]:
    """The values of one schedule, as in the list."""
    return listed_values(with_runs([schedule], now(), unsettled(db.session))[0])


def listed_values(listed: Listed) -> dict[str, Any]:
    """The definition and the current status of a schedule. Moments are ISO 8601 text in UTC."""
    schedule, row, run = listed.schedule, listed.schedule.row, listed.last_run
    return {
        "id": schedule.id,
        **shown(schedule.snapshot),
        "words": schedule.words,
        "version": row.version,
        "revision": row.revision,
        "changed_at": _iso(row.changed_at),
        "owner": row.owner,
        "paused": schedule.paused,
        "paused_until": _iso(row.paused_until),
        "pause_reason": row.pause_reason,
        "failing_since": _iso(row.failing_since),
        "runs": schedule.made,
        "finished": schedule.finished,
        "last_due_at": _iso(row.last_due_at),
        "next_due_at": _iso(listed.next_due_at),
        "next_fires_at": _iso(listed.next_fires_at),
        "problem": schedule.problem,
        "task_unknown": is_unknown(row.task),
        "note": call_note(row.task),
        "status": listed.status,
        "held": listed.hold.told if listed.hold else None,
        "last_run": None if run is None else {"id": run.id, "state": run.state, "due_at": _iso(run.due_at)},
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
