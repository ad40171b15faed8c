"""`/report`: the morning report of a day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, jsonify, url_for

from webapp.database.engine import now
from webapp.report import morning
from webapp.report.morning import Report
from webapp.web.access import Permission, access
from webapp.web.errors import NotFound
from webapp.web.hosts import current_settings
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("report", __name__, url_prefix="/report")

# A report further ahead says nothing, and none is older than runs are kept.
YEARS = range(2000, 2200)


@blueprint.get("")
@access(Permission.VIEW_RUNS)
def newest() -> Response:
    """To the newest whole report."""
    return see_other(url_for("report.show", day=morning.day_of(now(), _zone()).isoformat()))


@blueprint.get("/<day>")
@access(Permission.VIEW_RUNS)
def show(day: str) -> Response:
    """The report of a day, as 2027-03-01."""
    chosen = _read_day(day)
    at = now()
    start, _ = morning.period(chosen, _zone())
    found = morning.report(chosen, _zone(), at) if start < at else None
    if wants_json():
        if found is None:
            raise NotFound("Its period has not begun.")
        return jsonify(_values(found))
    newest_day = morning.day_of(at, _zone())
    return render(
        "report/index.html",
        found=found,
        day=chosen,
        start=start,
        former=chosen - timedelta(days=1),
        later=chosen + timedelta(days=1) if chosen <= newest_day else None,
        zone=_zone(),
        many=morning.SHOWN,
    )


def _read_day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.year not in YEARS or found.isoformat() != text:
        raise NotFound("A report has the address of its day, such as /report/2027-03-01.")
    return found


def _zone() -> ZoneInfo:
    return ZoneInfo(current_settings().timezone)


def _values(found: Report) -> dict[str, Any]:
    return {
        "day": found.day.isoformat(),
        "from": found.start.isoformat(),
        "to": found.end.isoformat(),
        "headline": found.headline,
        "runs": {state.value: count for state, count in found.counts.items()},
        "failures": [
            {**item.group.kind._asdict(), "status": item.status, "runs": len(item.group.runs)}
            for item in found.failures
        ],
        "missed": [
            {"schedule": one.name, "state": one.state, "reason": one.reason, "due_times": one.count}
            for one in found.silent
        ],
        "late": [{"run": one.run_id, "schedule": one.name, "seconds": round(one.seconds, 1)} for one in found.late],
        "unconfirmed": [{"run": row.id, "task": row.task} for row in found.unconfirmed],
        "changes": [
            {"by": entry.actor, "action": entry.action, "name": entry.object_name, "at": entry.at.isoformat()}
            for entry in found.changes
        ],
        "coming": [
            {"schedule": one.schedule.name, "first": one.first.isoformat(), "runs": one.fires}
            for one in found.coming or ()
        ],
    }
