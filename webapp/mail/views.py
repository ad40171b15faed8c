"""The mail pages: the messages, the wording of each kind, and the local mailbox."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app, flash, make_response, request, url_for
from flask_security import current_user

from webapp.extensions import csrf
from webapp.mail import mailbox, pages, rendering, service
from webapp.mail_store.models import Mail, MailState
from webapp.web.access import Permission, access
from webapp.web.errors import NotFound
from webapp.web.hosts import current_settings
from webapp.web.idempotency import once
from webapp.web.paging import requested_page
from webapp.web.parameters import text_in_query
from webapp.web.rendering import render, see_other

blueprint = Blueprint("mail", __name__)

# A message's HTML is shown in a frame that may neither run scripts nor load anything; only inline styles apply.
MESSAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"


@blueprint.get("/mail")
@access(Permission.VIEW_MAIL)
def index() -> Response:
    """The messages, newest first."""
    filters = {name: text_in_query(name) for name in ("state", "q")}
    page = requested_page(pages.messages(filters["state"], filters["q"]), Mail.id)
    return render("mail/index.html", page=page, filters=filters, states=list(MailState), mailbox=_folder() is not None)


@blueprint.get("/mail/<int:mail_id>")
@access(Permission.VIEW_MAIL)
def show(mail_id: int) -> Response:
    """One message, as it is sent."""
    mail = service.get_mail(mail_id)
    return render("mail/show.html", mail=mail, message=service.compose(mail), runs=pages.attempts(mail))


@blueprint.get("/mail/<int:mail_id>/html")
@access(Permission.VIEW_MAIL)
def show_html(mail_id: int) -> Response:
    """The HTML part alone, for the frame in the page."""
    return _framed(service.compose(service.get_mail(mail_id)).html)


@blueprint.post("/mail/<int:mail_id>/send-again")
@access(Permission.SEND_MAIL)
@once
def send_again(mail_id: int) -> Response:
    """Send a message again that is in doubt or failed."""
    mail = service.send_again(mail_id)
    flash(f"Sending to {mail.recipient} again.", "success")
    return see_other(url_for("mail.show", mail_id=mail_id))


@blueprint.post("/mail/<int:mail_id>/settle")
@access(Permission.SEND_MAIL)
@once
def settle(mail_id: int) -> Response:
    """Mark a message in doubt as delivered."""
    service.settle(mail_id)
    flash("Marked as delivered.", "success")
    return see_other(url_for("mail.show", mail_id=mail_id))


@blueprint.get("/mail/wording")
@access(Permission.VIEW_MAIL)
def wordings() -> Response:
    """All kinds of mail that are sent."""
    return render("mail/wordings.html", kinds=list(rendering.KINDS.values()), mailbox=_folder() is not None)


@blueprint.get("/mail/wording/<kind>")
@access(Permission.VIEW_MAIL)
def wording(kind: str) -> Response:
    """The wording of one kind, with example values."""
    subject, text, _ = _example(kind)
    return render("mail/wording.html", kind=rendering.KINDS[kind], subject=subject, text=text)


@blueprint.get("/mail/wording/<kind>/html")
@access(Permission.VIEW_MAIL)
def wording_html(kind: str) -> Response:
    """The HTML part alone, for the frame in the page."""
    return _framed(_example(kind)[2])


@blueprint.post("/mail/wording/<kind>/send")
@access(Permission.SEND_MAIL)
@once
def send_example(kind: str) -> Response:
    """Send one kind, with example values, to the signed-in user."""
    _example(kind)
    mail = service.send_example(kind, current_user._get_current_object())  # noqa: SLF001  # werkzeug's own name
    flash(f"Sending to {mail.recipient}.", "success")
    return see_other(url_for("mail.show", mail_id=mail.id))


@blueprint.get("/mail/mailbox")
@access(Permission.VIEW_MAILBOX)
def local_mailbox() -> Response:
    """The messages that the local SMTP sink received. Only for admins: the links in them sign people in."""
    folder = _require_folder()
    found = mailbox.names(folder, before=request.args.get("before", ""))
    letters = [mailbox.read_message(folder, name) for name in found]
    return render("mail/mailbox.html", letters=letters, older=found[-1] if len(found) == mailbox.PAGE_SIZE else None)


@blueprint.get("/mail/mailbox/<name>")
@access(Permission.VIEW_MAILBOX)
def letter(name: str) -> Response:
    """One message of the local mailbox."""
    return render("mail/letter.html", letter=mailbox.read_message(_require_folder(), name))


@blueprint.get("/mail/mailbox/<name>/html")
@access(Permission.VIEW_MAILBOX)
def letter_html(name: str) -> Response:
    """The HTML part alone, for the frame in the page."""
    return _framed(mailbox.read_message(_require_folder(), name).html or "")


@blueprint.get("/unsubscribe/<token>")
@access(Permission.PUBLIC)
def unsubscribe(token: str) -> Response:
    """The page that asks for confirmation: programs follow links, so a GET changes nothing."""
    return render("mail/unsubscribe.html", person=pages.subscriber(token), token=token, done=False)


@blueprint.post("/unsubscribe/<token>")
@csrf.exempt
@access(Permission.PUBLIC)
def unsubscribe_now(token: str) -> Response:
    """Unsubscribe with one click (RFC 8058). No CSRF token is needed: the signed token in the URL is the permission."""
    return render("mail/unsubscribe.html", person=service.unsubscribe_person(token), token=token, done=True)


def _example(kind: str) -> tuple[str, str, str]:
    if kind not in rendering.KINDS:
        raise NotFound(f"There is no email template “{kind}”.")
    return rendering.render(kind, rendering.KINDS[kind].example, current_app.jinja_env)


def _framed(html: str) -> Response:
    response = make_response(html)
    response.headers["Content-Security-Policy"] = MESSAGE_POLICY
    return response


def _folder() -> Path | None:
    return current_settings().mailbox


def _require_folder() -> Path:
    folder = _folder()
    if folder is None:
        raise NotFound("A mail server is configured, so there is no local mailbox.")
    return folder
