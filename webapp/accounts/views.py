"""Pages for signing in and out, and for resetting a password."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, flash, jsonify, request, url_for
from flask_security import current_user
from flask_wtf.csrf import generate_csrf

from webapp.accounts import service
from webapp.accounts.bodies import MailedLink, PasswordReset, SignIn
from webapp.accounts.constant_time import even_time
from webapp.identity import recovery
from webapp.identity.limits import WRONG_PASSWORD, count_link, limit_mail, limit_sign_in, remember_device
from webapp.identity.models import User
from webapp.web.access import Permission, access
from webapp.web.bodies import read_body
from webapp.web.errors import Invalid, NotFound, error_response
from webapp.web.hosts import root
from webapp.web.redirects import safe_path
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("accounts", __name__)


@blueprint.get("/login")
@access(Permission.PUBLIC)
def login() -> Response:
    """The form; for a program, the token that its POST has to bring."""
    if wants_json():
        return jsonify(csrf_token=generate_csrf(), fields=["email", "password"])
    if current_user.is_authenticated:
        return see_other(_next())
    return render("accounts/login.html", next=safe_path(request.args.get("next"), root()) or "", email="", errors={})


@blueprint.post("/login")
@access(Permission.PUBLIC)
@limit_sign_in
def sign_in() -> Response:
    """Sign in, then redirect to the page that was asked for."""
    given = read_body(SignIn)
    user = service.sign_in(given.email, given.password)
    if user is None:
        return _wrong(given.email)
    return remember_device(_signed_in(), user)


@blueprint.post("/logout")
@access(Permission.PUBLIC)
def logout() -> Response:
    """Sign this browser out."""
    service.sign_out(current_user if current_user.is_authenticated else None)
    if wants_json():
        return jsonify(status="signed out")
    return see_other(url_for("accounts.login"))


@blueprint.get("/reset")
@access(Permission.PUBLIC)
def forgot() -> Response:
    """The form that requests a link to reset a password."""
    if wants_json():
        return jsonify(csrf_token=generate_csrf(), fields=["email"])
    return render("accounts/forgot.html", over=False)


@blueprint.post("/reset")
@access(Permission.PUBLIC)
@limit_mail
@even_time
def send_link() -> Response:
    """Mail the link, if the address is registered; the response is the same if it is not."""
    service.request_reset(read_body(MailedLink).email)
    if wants_json():
        return jsonify(status="sent if the address is registered")
    return see_other(url_for("accounts.link_sent"))


@blueprint.get("/reset/sent")
@access(Permission.PUBLIC)
def link_sent() -> Response:
    """What happens next."""
    return render("accounts/forgot_sent.html")


@blueprint.get("/reset/<token>")
@access(Permission.PUBLIC)
def choose(token: str) -> Response:
    """The form for the new password."""
    user = _owner(token)
    return _over() if user is None else render("accounts/reset.html", token=token, user=user, errors={})


@blueprint.post("/reset/<token>")
@access(Permission.PUBLIC)
def reset(token: str) -> Response:
    """Set the new password and end all sessions."""
    owner = _owner(token)
    if owner is None:
        return _over()
    count_link(owner)
    try:
        user = service.reset_password(owner.id, read_body(PasswordReset).password)
    except Invalid as error:
        if wants_json():
            raise
        return render("accounts/reset.html", status=error.status, token=token, user=owner, errors=error.fields)
    if wants_json():
        return remember_device(jsonify(status="changed"), user)
    flash("Your password was changed. Sign in with the new one.", "success")
    return remember_device(see_other(url_for("accounts.login")), user)


@blueprint.get("/confirm")
@access(Permission.PUBLIC)
def confirmation() -> Response:
    """The form that requests a new link to confirm an address."""
    if wants_json():
        return jsonify(csrf_token=generate_csrf(), fields=["email"])
    return render("accounts/confirm.html", over=False)


@blueprint.post("/confirm")
@access(Permission.PUBLIC)
@limit_mail
@even_time
def send_confirmation() -> Response:
    """Mail the link, if the address is to be confirmed; the response is the same if it is not."""
    service.request_confirmation(read_body(MailedLink).email)
    if wants_json():
        return jsonify(status="sent if the address is registered and not confirmed")
    return see_other(url_for("accounts.confirmation_sent"))


@blueprint.get("/confirm/sent")
@access(Permission.PUBLIC)
def confirmation_sent() -> Response:
    """What happens next."""
    return render("accounts/confirm_sent.html")


@blueprint.get("/confirm/<token>")
@access(Permission.PUBLIC)
def confirm(token: str) -> Response:
    """Confirm the address that the link was mailed to."""
    # Programs that check whether a link works must not confirm it.
    if request.method == "HEAD":
        return current_app.make_response("")
    if service.confirm_address(token, current_app.extensions["settings"]) is None:
        if wants_json():
            raise NotFound("This link is not valid or older than a week. Request a new one.")
        return render("accounts/confirm.html", status=404, over=True)
    if wants_json():
        return jsonify(status="confirmed")
    return render("accounts/confirmed.html")


def _owner(token: str) -> User | None:
    return recovery.user_of(token, current_app.extensions["settings"])


def _over() -> Response:
    """The page for a link that is not valid: the form that requests another one."""
    if wants_json():
        raise NotFound("This link is no longer valid: it works once, for an hour. Request a new one.")
    return render("accounts/forgot.html", status=404, over=True)


def _next() -> str:
    wanted = request.args.get("next") or (None if request.is_json else request.form.get("next"))
    return safe_path(wanted, root()) or url_for("overview.index")


def _signed_in() -> Response:
    if wants_json():
        return jsonify(status="signed in", csrf_token=generate_csrf())
    return see_other(_next())


def _wrong(email: str) -> Response:
    if wants_json():
        return error_response(WRONG_PASSWORD, service.WRONG)
    return render(
        "accounts/login.html",
        status=WRONG_PASSWORD,
        next=safe_path(request.form.get("next") or request.args.get("next"), root()) or "",
        email=email,
        errors={"": service.WRONG},
    )
