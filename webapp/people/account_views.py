"""`/account`: a person's own profile, password and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, flash, jsonify, url_for
from flask_security import current_user
from flask_wtf.csrf import generate_csrf

from webapp.accounts import service, sessions
from webapp.accounts.bodies import PasswordChange
from webapp.database.engine import now
from webapp.identity.limits import limit_own_password
from webapp.people import service as people
from webapp.people.bodies import OwnProfile
from webapp.people.snapshot import snapshot
from webapp.recurrence.zone_search import zone_names
from webapp.web.access import Permission, access
from webapp.web.bodies import read_body
from webapp.web.errors import Invalid
from webapp.web.hosts import current_settings
from webapp.web.parameters import submitted
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("account", __name__, url_prefix="/account")


@blueprint.get("")
@access(Permission.USE_ACCOUNT)
def show() -> Response:
    """The page: profile, password, and current sessions."""
    if wants_json():
        return jsonify(**snapshot(current_user), csrf_token=generate_csrf())
    return _page(snapshot(current_user))


@blueprint.post("")
@access(Permission.USE_ACCOUNT)
def update() -> Response:
    """Change the profile."""
    try:
        user = people.update_own(current_user.id, read_body(OwnProfile, now=now()))
    except Invalid as error:
        if wants_json():
            raise
        return _page(submitted(), error)
    if wants_json():
        return jsonify(snapshot(user))
    flash("Your profile was saved.", "success")
    return see_other(url_for("account.show"))


@blueprint.post("/password")
@access(Permission.USE_ACCOUNT)
@limit_own_password
def change_password() -> Response:
    """Change the password; every other browser is signed out."""
    wanted = read_body(PasswordChange)
    try:
        service.change_password(current_user.id, wanted.password, wanted.new_password)
    except Invalid as error:
        if wants_json():
            raise
        return _page(snapshot(current_user), error)
    if wants_json():
        return jsonify(status="changed", csrf_token=generate_csrf())
    flash("Your password was changed. All other browsers were signed out.", "success")
    return see_other(url_for("account.show"))


@blueprint.post("/sign-ins/end")
@access(Permission.USE_ACCOUNT)
def sign_out_elsewhere() -> Response:
    """Sign out every other browser."""
    ended = service.sign_out_elsewhere(current_user)
    if wants_json():
        return jsonify(ended=ended)
    flash(f"Signed out of {ended} other session{'' if ended == 1 else 's'}.", "success")
    return see_other(url_for("account.show"))


def _page(typed: Mapping[str, Any], error: Invalid | None = None) -> Response:
    return render(
        "accounts/account.html",
        status=error.status if error else 200,
        user=current_user,
        typed=typed,
        errors=error.fields if error else {},
        zones=zone_names(),
        must_confirm=current_settings().confirm_addresses,
        sign_ins=sessions.alive(current_user),
        this_sign_in=sessions.current_id(),
    )
