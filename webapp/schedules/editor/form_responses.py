"""Responses that show the editor again: with errors at their fields, or with a conflict between two saves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flask import Response

from webapp.database.engine import now
from webapp.runs.call import forms
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.stored import Stored
from webapp.schedules import history, service
from webapp.schedules.editor import crontab_builder
from webapp.schedules.editor.context import editor_context
from webapp.schedules.editor.forms import empty_form, form_values, typed
from webapp.schedules.editor.preview import Preview, preview
from webapp.schedules.editor.three_way_merge import merge
from webapp.schedules.service import Edited
from webapp.schedules.validation import with_call
from webapp.web.errors import Invalid
from webapp.web.parameters import read_id
from webapp.web.rendering import render
from webapp.web.transactions import reading


def shown_again(
    given: Mapping[str, Any],
    along: Mapping[str, Any],
    edited: Stored | None,
    looked: Preview,
    errors: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The context of the form with everything as it was typed, for a new schedule or the edited one."""
    values = typed(given, form_values(shown(edited.snapshot)) if edited else empty_form("UTC"))
    more = {"tried": bool(along.get("tried")), "clone": read_id(along.get("clone"))}
    return editor_context(values, edited, looked, errors, chosen(along)) | more


def form_again(given: dict[str, Any], along: dict[str, Any], schedule_id: int | None, error: Invalid) -> Response:
    """The form after a save was refused, with each error at its field."""
    with reading():
        edited = service.get(schedule_id) if schedule_id is not None else None
        looked = preview(given, edited, now(), service.snapshot_like(read_id(along.get("clone"))))
        context = shown_again(given, {**along, "tried": "1"}, edited, looked, error.fields)
        return render(
            "schedules/editor/new.html" if edited is None else "schedules/editor/edit.html", status=422, **context
        )


def both_edited(given: dict[str, Any], error: Edited) -> Response:
    """The conflict page after another save came first: the values of both, and a form that merges them."""
    with reading():
        theirs = service.get(error.schedule.id)
        base = history.snapshot_of(theirs.id, error.version) or theirs.snapshot
        mine, unread = with_call(given, base)
        mine |= _typed_call(mine, str(mine.get("task") or theirs.row.task))
        merged = merge(shown(base), shown(theirs.snapshot), mine)
        # Arguments that cannot be parsed are shown as they were typed.
        values = typed(given, merged.values) if unread else merged.values
        context = editor_context(values, theirs, preview(values, theirs, now()), unread)
        return render("schedules/editor/conflict.html", status=409, merged=merged, conflict=error, **context)


def _typed_call(given: Mapping[str, Any], task: str) -> dict[str, str]:
    """The arguments as text, as they were typed. Secrets in them have to be typed again."""
    sent = {name: given[name] for name in ("args", "kwargs") if name in given}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in sent.items()
    }
    call = forms.from_json(task, texts.get("args", "[]"), texts.get("kwargs", "{}"), as_json=True)
    return {name: call.values[name] for name in texts}


def run_form(schedule_id: int, given: Mapping[str, Any], errors: Mapping[str, str]) -> Response:
    """The form for running a schedule now, with the arguments as they were typed and their errors."""
    with reading():
        schedule = service.get(schedule_id)
        call = forms.from_typed(schedule.row.task, given)
        return render("schedules/run.html", status=422, schedule=schedule, run_call=call, errors=errors)


def chosen(along: Mapping[str, Any]) -> dict[str, str]:
    """The choices made in the crontab builder."""
    return {name: str(value) for name, value in along.items() if name.startswith(crontab_builder.PREFIX)}
