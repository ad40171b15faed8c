"""Handles a form once that is sent twice, by a double click or a repeated request.

Each rendering of a form has its own key in a hidden field. The key is stored before the form is handled, so that of
several requests at the same moment one is handled; the others are redirected to where the first one was. Requests
without a key, as programs send them, are always handled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from flask import Response, current_app, flash, request
from flask_security import current_user
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, UtcDateTime, now
from webapp.extensions import db
from webapp.web.errors import Conflict
from webapp.web.rendering import see_other, wants_json
from webapp.web.transactions import reading, write_apart

FIELD = "idempotency_key"
KEY_LIFETIME = timedelta(days=1)
# How long a repeated request waits for the response to the first one.
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.05
# Fields that differ between two requests of one form without making them different.
_IGNORED_FIELDS = ("csrf_token", FIELD)

View = TypeVar("View", bound=Callable[..., Any])


class HandledForm(Base):
    """A form that was handled, and the target of its redirect."""

    __tablename__ = "handled_forms"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True, comment="SHA-256 of user, form and key")
    handled_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    location: Mapped[str | None] = mapped_column(sa.String(2048), comment="Where the response led to")


def new_key() -> str:
    """A key for one rendering of a form."""
    return secrets.token_urlsafe(16)


def once(view: View) -> View:
    """A decorator that handles each key once: `@once`, directly above a view that redirects when it has succeeded."""

    @functools.wraps(view)
    def handled(*args: Any, **kwargs: Any) -> Any:
        if not request.form.get(FIELD) or wants_json():
            return view(*args, **kwargs)
        digest = _digest()
        if not _claim(digest):
            return _first_response(digest)
        try:
            response = current_app.make_response(view(*args, **kwargs))
        except Exception:
            _end(digest, None)
            raise
        _end(digest, response.headers.get("Location") or response.headers.get("HX-Redirect"))
        return response

    return cast("View", handled)


def _digest() -> str:
    """The digest of key, user, path and fields: with other fields it is another request."""
    fields = sorted((name, values) for name, values in request.form.lists() if name not in _IGNORED_FIELDS)
    parts = [request.form[FIELD], current_user.get_id(), request.path, fields]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _claim(digest: str) -> bool:
    """Store the key; gives whether this request is the first to do so."""
    moment = now()
    old = sa.delete(HandledForm).where(HandledForm.handled_at < moment - KEY_LIFETIME)
    claim = sa.insert(HandledForm).values(digest=digest, handled_at=moment)

    def write(connection: sa.Connection) -> None:
        connection.execute(old)
        connection.execute(claim)

    # On SQLite an open transaction of the session would block this one.
    db.session.rollback()
    try:
        write_apart(write)
    except sa.exc.IntegrityError:
        return False
    return True


def _end(digest: str, location: str | None) -> None:
    """Store the target of the redirect. Without one the form is shown again, so its key becomes free again."""
    db.session.rollback()
    this = HandledForm.digest == digest
    if location:
        done: sa.Update | sa.Delete = sa.update(HandledForm).where(this).values(location=location[:2048])
    else:
        done = sa.delete(HandledForm).where(this)
    write_apart(lambda connection: connection.execute(done))


def _first_response(digest: str) -> Response:
    """A redirect to where the first request was redirected. Raises Conflict if that one takes too long."""
    give_up = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < give_up:
        with reading():
            location = db.session.scalar(sa.select(HandledForm.location).where(HandledForm.digest == digest))
        if location:
            flash("The form was sent twice; the action was done once.", "info")
            return see_other(location)
        time.sleep(POLL_SECONDS)
    raise Conflict("This form was sent before and is still being handled. Reload the page to see the current state.")
