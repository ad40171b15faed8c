"""Schedules as a file, from the browser: out in one of three formats, in with the difference first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, flash, jsonify, make_response, request, url_for
from werkzeug.datastructures import FileStorage

from webapp.database.engine import now
from webapp.recurrence.zone_search import zone_names
from webapp.schedules import service
from webapp.schedules.asked import asked_filters
from webapp.schedules.list import listing
from webapp.schedules.sources.formats import FORMATS, ImportOptions, decode, guess, read
from webapp.schedules.transfer import export
from webapp.schedules.transfer import service as transfer
from webapp.schedules.transfer.service import Step
from webapp.task_catalogue.registry import known_tasks
from webapp.web.access import Permission, access, may
from webapp.web.errors import Invalid
from webapp.web.parameters import id_in_query, list_sent, submitted, text_in_query
from webapp.web.rendering import render, see_other, wants_json
from webapp.web.transactions import reading

blueprint = Blueprint("schedules_transfer", __name__, url_prefix="/schedules")
blueprint.add_app_template_global(export.FORMATS.items, "export_formats")


@blueprint.get("/export")
@access(Permission.VIEW_SCHEDULES)
def export_file() -> Response:
    """A file of the schedules that the list's filters leave, of one (`id`), or of all; `format` is one of `FORMATS`.

    Without a format it is YAML, and JSON for those who ask for it. Secrets are masked in it; for those who may import
    it they are sealed.
    """
    format_ = text_in_query("format") or ("json" if wants_json() else "yaml")
    if format_ not in export.FORMATS:
        raise Invalid({"format": f"There is no format “{format_}”. Use one of {', '.join(export.FORMATS)}."})
    response = make_response(export.export(format_, _chosen(), with_seals=may(Permission.EDIT_SCHEDULES)).text)
    asked = export.FORMATS[format_]
    response.headers["Content-Type"] = f"{asked.media_type}; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="{asked.file_name.format(now().date())}"'
    return response


def _chosen() -> Collection[int] | None:
    """The numbers of the schedules that are asked for; None for all. Raises NotFound."""
    if (number := id_in_query("id")) is not None:
        return [service.get(number).id]
    filters = asked_filters()
    return listing.all_matching(filters, now()) if filters.given() else None


@blueprint.get("/import")
@access(Permission.EDIT_SCHEDULES)
def import_form() -> Response:
    """Where a file is chosen or pasted."""
    return _page(200, "", ImportOptions(timezone=current_app.extensions["settings"].timezone), None)


@blueprint.post("/import")
@access(Permission.EDIT_SCHEDULES)
def import_file() -> Response:
    """The difference; with `apply` it is done: all of it, or with `skip_refused` what can be imported.

    Programs send `{"file": text, "format": …, "timezone": …, "tasks": {command: task}, "without": [name], "remove":
    true, "skip_refused": true, "apply": true}`.
    """
    given = submitted()
    asked, do_it, skip_refused = _asked(given), bool(given.get("apply")), bool(given.get("skip_refused"))
    remove, without = bool(given.get("remove")), _without(given)
    text = ""
    try:
        text = _text(given)
        with reading():
            entries = read(text, asked, now())
            steps = transfer.difference(entries, remove=remove, without=without)
        if wants_json():
            transfer.require_entries(steps, without)
        do_it = do_it and given.get("seen", seen := _digest(text, asked, steps, remove=remove)) == seen
        if do_it and (wants_json() or skip_refused or not transfer.refusals(steps)):
            steps = transfer.apply(entries, remove=remove, without=without, skip_refused=skip_refused)
        elif do_it:
            transfer.note_refused(steps)
    except Invalid as error:
        if wants_json():
            raise
        with reading():
            return _page(422, text, asked, None, remove=remove, without=without, error=error.fields)
    if wants_json():
        return jsonify(applied=do_it, steps=[transfer.step_values(step) for step in steps])
    if do_it and (skip_refused or not transfer.refusals(steps)):
        flash(*_outcome(steps))
        return see_other(url_for("schedules.index"))
    with reading():
        return _page(422 if do_it else 200, text, asked, steps, remove=remove, without=without)


def _outcome(steps: list[Step]) -> tuple[str, str]:
    count, refused = transfer.written(steps), sum(bool(step.errors) for step in steps)
    parts = [f"Imported: {count} written, {len(steps) - count - refused} unchanged."]
    parts += [f"{refused} could not be imported."] if refused else []
    parts += ["No run was started.", *(step.withdrawn for step in steps if step.withdrawn)]
    return " ".join(parts), "warning" if refused else "success"


def _without(given: dict[str, Any]) -> list[str]:
    """The entries that are left out; a form sends those that have no tick box one a line."""
    names = [name.strip() for sent in list_sent("without", given) for name in sent.splitlines()]
    return list(dict.fromkeys(filter(None, names)))


def _digest(text: str, asked: ImportOptions, steps: list[Step], *, remove: bool) -> str:
    """What was shown: an import of something else, or one that refuses other entries, shows that first.

    What is left out is no part of it, because each entry was shown with what it does.
    """
    seen = [text.strip(), asdict(asked), remove, [step.key for step in steps if step.errors]]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def _asked(given: dict[str, Any]) -> ImportOptions:
    tasks = given.get("tasks")
    if not isinstance(tasks, dict):
        tasks = dict(zip(list_sent("command", given), list_sent("task_of", given), strict=False))
        tasks[""] = given.get("task_of_all", "")
    named = {str(command): str(task) for command, task in tasks.items() if task}
    chosen = str(given.get("timezone") or "").strip()
    timezone = chosen or current_app.extensions["settings"].timezone
    return ImportOptions(str(given.get("format") or ""), timezone, named, bool(chosen))


def _text(given: dict[str, Any]) -> str:
    """What was uploaded, else what was pasted. Raises Invalid."""
    upload: FileStorage | None = request.files.get("upload")
    if upload is None or not upload.filename:
        return str(given.get("file") or "").replace("\r\n", "\n")
    return decode(upload.read())


def _page(status: int, text: str, asked: ImportOptions, steps: list[Step] | None, **more: Any) -> Response:
    format_ = asked.format if asked.format in FORMATS else guess(text) if text.strip() else ""
    shown = {"error": None, "remove": False, "without": [], **more}
    seen = _digest(text, asked, steps or [], remove=shown["remove"])
    return render(
        "schedules/transfer/import.html",
        status=status,
        text=text,
        seen=seen,
        asked=asked,
        format=format_,
        formats=list(FORMATS.items()),
        steps=steps,
        groups=_groups(steps or []),
        written=transfer.written(steps or []),
        commands=list(dict.fromkeys(step.command for step in steps or [] if step.command)),
        tasks=list(known_tasks()),
        zones=zone_names(),
        default_zone=current_app.extensions["settings"].timezone,
        **shown,
    )


def _groups(steps: list[Step]) -> dict[str, list[Step]]:
    """The steps by what they do; what needs people first."""
    actions = ("refuse", "create", "change", "remove", "left out", "skip", "keep")
    found: dict[str, list[Step]] = {action: [] for action in actions}
    for step in steps:
        found["left out" if step.left_out else step.action].append(step)
    return {action: group for action, group in found.items() if group}
