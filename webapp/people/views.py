"""Pages for registering, and for admins who manage people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, current_app, flash, jsonify, make_response, request, url_for
from flask_security import current_user
from flask_wtf.csrf import generate_csrf

from webapp.accounts.constant_time import even_time
from webapp.database.engine import now
from webapp.identity.limits import limit_registrations
from webapp.identity.models import User
from webapp.people import registration, service
from webapp.people.bodies import PersonUpdate, Registration
from webapp.people.snapshot import snapshot
from webapp.recurrence.zone_search import zone_names
from webapp.web.access import ROLES, Permission, access, may
from webapp.web.bodies import read_body, read_values
from webapp.web.errors import Conflict, DomainError, Invalid
from webapp.web.paging import requested_page
from webapp.web.parameters import submitted, text_in_query
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("people", __name__)

FIELDS = ("name", "email", "password", "birthday", "timezone")


@blueprint.get("/register")
@access(Permission.PUBLIC)
def registration_form() -> Response:
    """The form; for a program, the fields that its POST takes, and the token it needs if it keeps a session."""
    if wants_json():
        return jsonify(csrf_token=generate_csrf(), fields=list(FIELDS))
    return _registration_page({"timezone": current_app.extensions["settings"].timezone})


@blueprint.post("/register")
@access(Permission.PUBLIC, open_json=True)
@limit_registrations
@even_time
def register() -> Response:
    """Register; the same answer whether or not the address was taken. A program may leave out the time zone."""
    given, by_admin = submitted(), may(Permission.MANAGE_PEOPLE)
    if request.is_json:
        given = {"timezone": current_app.extensions["settings"].timezone, **given}
    try:
        registration.register(read_values(Registration, given, now=now()), confirmed=by_admin)
    except Invalid as error:
        if wants_json():
            raise
        return _registration_page(given, error)
    if wants_json():
        return make_response(jsonify(status="registered"), 201)
    return see_other(url_for("people.registered"))


@blueprint.get("/register/done")
@access(Permission.PUBLIC)
def registered() -> Response:
    """The page after registering."""
    return render("people/registered.html")


@blueprint.get("/people")
@access(Permission.MANAGE_PEOPLE)
def index() -> Response:
    """The list of people, newest first."""
    filters = {name: text_in_query(name) for name in ("search", "role", "active")}
    active = {"yes": True, "no": False}.get(filters["active"])
    page = requested_page(service.find_people(filters["search"], filters["role"], active), User.id)
    if wants_json():
        people = [{"id": user.id, **snapshot(user)} for user in page.rows]
        return jsonify(people=people, older=page.older, newer=page.newer)
    return render("people/index.html", page=page, filters=filters, filtered=any(filters.values()), roles=ROLES)


@blueprint.get("/people/<int:user_id>")
@access(Permission.MANAGE_PEOPLE)
def show(user_id: int) -> Response:
    """One person, with their mails and the runs that send them."""
    user = service.get_person(user_id)
    if wants_json():
        return jsonify(id=user.id, **snapshot(user), csrf_token=generate_csrf())
    return _person_page(user_id, snapshot(user))


@blueprint.post("/people/<int:user_id>")
@access(Permission.MANAGE_PEOPLE)
def update(user_id: int) -> Response:
    """Change name, birthday, zone, roles, and whether they may sign in."""
    try:
        user = service.update_person(user_id, read_body(PersonUpdate, now=now()), by=current_user.id)
    except (Invalid, Conflict) as error:
        if wants_json():
            raise
        return _person_page(user_id, {**submitted(), "roles": request.form.getlist("roles")}, error)
    if wants_json():
        return jsonify(id=user.id, **snapshot(user))
    flash(f"{user.name} was saved.", "success")
    return see_other(url_for("people.show", user_id=user_id))


def _registration_page(typed: Mapping[str, Any], error: Invalid | None = None) -> Response:
    return render(
        "people/register.html",
        status=error.status if error else 200,
        typed=typed,
        errors=error.fields if error else {},
        zones=zone_names(),
    )


def _person_page(user_id: int, typed: Mapping[str, Any], error: DomainError | None = None) -> Response:
    user = service.get_person(user_id)
    mails = service.mails_of(user)
    return render(
        "people/person.html",
        status=error.status if error else 200,
        user=user,
        typed=typed,
        errors=getattr(error, "fields", {"": str(error)}) if error else {},
        roles=ROLES,
        zones=zone_names(),
        mails=mails,
        runs=service.runs_of(mails),
    )
