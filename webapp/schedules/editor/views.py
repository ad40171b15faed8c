"""The editor while a person types: the form itself, what it would do, its arguments, its builder of crontabs."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from webapp.database.engine import now
from webapp.identity import own_tasks
from webapp.runs.call import forms
from webapp.schedule_store.definition import due_values
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.stored import Stored
from webapp.schedules import service
from webapp.schedules.asked import given_fields
from webapp.schedules.editor import crontab_builder
from webapp.schedules.editor.context import editor_context, visible_errors
from webapp.schedules.editor.crontab_parser import LINE, filled_in, is_typed
from webapp.schedules.editor.form_responses import chosen, shown_again
from webapp.schedules.editor.forms import form_values
from webapp.schedules.editor.preview import COUNT, Preview, preview, unchanged
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.parameters import read_id
from webapp.web.rendering import render, wants_json
from webapp.web.transactions import reading

blueprint = Blueprint("schedule_editor", __name__, url_prefix="/schedules")


@blueprint.get("/<int:schedule_id>/edit")
@access(Permission.EDIT_SCHEDULES)
def edit(schedule_id: int) -> Response:
    """The form for one that is there, on a page of its own."""
    found = service.get(schedule_id)
    own_tasks.require_form_access(found.row.task)
    moment = now()
    context = editor_context(form_values(shown(found.snapshot)), found, unchanged(found, moment))
    return render("schedules/editor/edit.html", unchanged=True, due_now=found.due_times(moment, COUNT), **context)


@blueprint.post("/preview")
@access(Permission.EDIT_SCHEDULES)
def show_preview() -> Response:
    """The next due times of what is typed; without htmx the whole form again, with them beside it."""
    given, along = given_fields()
    posted, errors = chosen(along), {}
    typed = is_typed(str(given.get("crontab", "")), posted)
    try:
        given = filled_in(given, posted)
    except Invalid as error:
        errors = error.fields
    with reading():
        edited = _edited(along)
        if wants_json():
            return _preview_values(preview(given, edited, now(), service.snapshot_like(read_id(along.get("clone")))))
        return _editor("schedules/editor/_previewed.html", given, along, edited, errors=errors, typed=typed)


@blueprint.post("/arguments")
@access(Permission.EDIT_SCHEDULES)
def show_arguments() -> Response:
    """The arguments' fields for the chosen task, or the same arguments in the other way of writing them."""
    given, along = given_fields()
    given = {name: str(value) for name, value in given.items()}
    errors: dict[str, str] = {}
    with reading():
        edited = _edited(along)
        task = given.get("task") or (edited.row.task if edited else "")
        if wished := along.get("switch"):
            form, errors = forms.switched(task, given, str(wished))
            given = _without_call(given) | dict(form.values)
            if wished == "json" or not form.as_json:
                given[forms.MODE] = "json" if form.as_json else "fields"
        return _editor("schedules/editor/_arguments.html", given, along, edited, errors=errors)


@blueprint.post("/build")
@access(Permission.EDIT_SCHEDULES)
def build() -> Response:
    """The crontab that the choices say, filled in; what is wrong with the choices where they stand."""
    given, along = given_fields()
    errors: dict[str, str] = {}
    note = ""
    with reading():
        try:
            built = crontab_builder.build(chosen(along))
        except Invalid as error:
            errors = error.fields
        else:
            given, note = {**given, "kind": "crontab", "crontab": built.line}, built.note
            along[LINE] = built.line
        return _editor("schedules/editor/_rebuilt.html", given, along, _edited(along), errors=errors, note=note)


def _editor(
    fragment: str,
    given: dict[str, Any],
    along: dict[str, Any],
    edited: Stored | None,
    *,
    errors: dict[str, str] | None = None,
    note: str = "",
    typed: bool = False,
) -> Response:
    looked = preview(given, edited, now(), service.snapshot_like(read_id(along.get("clone"))))
    context = shown_again(given, along, edited, looked)
    context["errors"] = visible_errors(looked, context["values"], tried=context["tried"]) | (errors or {})
    page = "schedules/editor/new.html" if edited is None else "schedules/editor/edit.html"
    return render(page, fragment, built_note=note, typed=typed, **context)


def _edited(along: dict[str, Any]) -> Stored | None:
    number = read_id(along.get("schedule_id"))
    return service.get(number) if number is not None else None


def _without_call(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if not forms.is_field(name)}


def _preview_values(looked: Preview) -> Response:
    old = None if looked.old is None else [due_values(due) for due in looked.old]
    new = [due_values(due) for due in looked.new]
    return jsonify(
        words=looked.words,
        timezone=looked.timezone,
        next=new,
        before=old,
        notes=looked.clock_notes,
        errors=looked.errors,
    )
