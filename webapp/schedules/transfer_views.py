"""Schedules as a file, from the browser: out as YAML or for Celery's own beat, in with the difference first."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, flash, jsonify, make_response, request, url_for
from werkzeug.datastructures import FileStorage

from webapp.accounts.access import Access, access, may
from webapp.database import now
from webapp.errors import Invalid
from webapp.people.zones import zone_names
from webapp.query import text_in_query
from webapp.registry import known_tasks
from webapp.rendering import render, see_other, wants_json
from webapp.schedules import transfer
from webapp.schedules.asked import list_sent
from webapp.schedules.sources.beat_export import to_source
from webapp.schedules.sources.own import to_yaml
from webapp.schedules.sources.reading import FORMATS, Asked, guess, read
from webapp.schedules.transfer import Step
from webapp.submitted import submitted
from webapp.transactions import reading

blueprint = Blueprint("schedules_transfer", __name__, url_prefix="/schedules")


@blueprint.get("/export")
@access(Access.VIEWER)
def export() -> Response:
    """All of them, as a YAML file, as JSON for those who ask for it, or as Python for Celery's own beat.

    Secrets are masked in it; for those who may import it they are sealed.
    """
    if text_in_query("format") == "beat_schedule":
        return _download(to_source(transfer.snapshots()), "text/x-python", f"beat_schedule-{now():%Y-%m-%d}.py")
    entries = transfer.export_all(with_seals=may(Access.SCHEDULER))
    if wants_json():
        return jsonify(schedules=entries, sealed=transfer.sealed(entries))
    return _download(to_yaml(entries, transfer.sealed(entries)), "application/yaml", f"schedules-{now():%Y-%m-%d}.yaml")


@blueprint.get("/import")
@access(Access.SCHEDULER)
def import_form() -> Response:
    """Where a file is chosen or pasted."""
    return _page(200, "", Asked(timezone=current_app.extensions["settings"].timezone), None)


@blueprint.post("/import")
@access(Access.SCHEDULER)
def import_file() -> Response:
    """The difference; with `apply` it is done, all of it or nothing.

    Programs send `{"file": text, "format": …, "timezone": …, "tasks": {command: task}, "remove": true, "apply": true}`.
    """
    given = submitted()
    asked, remove, do_it = _asked(given), bool(given.get("remove")), bool(given.get("apply"))
    text = ""
    try:
        text = _text(given)
        with reading():
            entries = read(text, asked, now())
            steps = transfer.difference(entries, remove=remove)
        do_it = do_it and given.get("seen", seen := _digest(text, asked, remove=remove)) == seen
        if do_it and (wants_json() or not transfer.refusals(steps)):
            steps = transfer.apply(entries, remove=remove)
        elif do_it:
            transfer.note_refused(steps)
    except Invalid as error:
        if wants_json():
            raise
        with reading():
            return _page(422, text, asked, None, remove=remove, error=error.fields)
    if wants_json():
        return jsonify(applied=do_it, steps=[transfer.step_values(step) for step in steps])
    if do_it and not any(step.errors for step in steps):
        count = transfer.written(steps)
        told = [f"Imported: {count} written, {len(steps) - count} left as they are. Nothing ran."]
        flash(" ".join([*told, *(step.withdrawn for step in steps if step.withdrawn)]), "success")
        return see_other(url_for("schedules.index"))
    with reading():
        return _page(422 if do_it else 200, text, asked, steps, remove=remove)


def _digest(text: str, asked: Asked, *, remove: bool) -> str:
    """What was shown: an import of something else shows that first."""
    return hashlib.sha256(json.dumps([text.strip(), asdict(asked), remove], sort_keys=True).encode()).hexdigest()


def _asked(given: dict[str, Any]) -> Asked:
    tasks = given.get("tasks")
    if not isinstance(tasks, dict):
        tasks = dict(zip(list_sent("command", given), list_sent("task_of", given), strict=False))
        tasks[""] = given.get("task_of_all", "")
    named = {str(command): str(task) for command, task in tasks.items() if task}
    timezone = str(given.get("timezone") or current_app.extensions["settings"].timezone)
    return Asked(str(given.get("format") or ""), timezone, named)


def _text(given: dict[str, Any]) -> str:
    """What was uploaded, else what was pasted. Raises Invalid."""
    upload: FileStorage | None = request.files.get("upload")
    if upload is None or not upload.filename:
        return str(given.get("file") or "").replace("\r\n", "\n")
    try:
        read_text: str = upload.read().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Invalid({"file": f"“{upload.filename[:80]}” is not a text in UTF-8."}) from error
    return read_text


def _page(status: int, text: str, asked: Asked, steps: list[Step] | None, **more: Any) -> Response:
    format_ = asked.format if asked.format in FORMATS else guess(text) if text.strip() else ""
    shown = {"error": None, "remove": False, **more}
    seen = _digest(text, asked, remove=shown["remove"])
    return render(
        "schedules/import.html",
        status=status,
        text=text,
        seen=seen,
        asked=asked,
        format=format_,
        formats=list(FORMATS.items()),
        steps=steps,
        groups=_groups(steps or []),
        commands=list(dict.fromkeys(step.command for step in steps or [] if step.command)),
        tasks=list(known_tasks()),
        zones=zone_names(),
        **shown,
    )


def _groups(steps: list[Step]) -> dict[str, list[Step]]:
    """The steps by what they do; what needs people first."""
    actions = ("refuse", "create", "change", "remove", "skip", "keep")
    return {action: found for action in actions if (found := [step for step in steps if step.action == action])}


def _download(text: str, kind: str, name: str) -> Response:
    response = make_response(text)
    response.headers["Content-Type"] = f"{kind}; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
