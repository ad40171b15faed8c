"""Requests that a program proves by `Authorization: Bearer …` instead of a cookie, at the routes that take it.

Such a request has no session: what a cookie says is not read, none is set, and no token of a form is needed, since no
browser sends that header by itself. At every other route the header means nothing.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, abort, current_app, g, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.datastructures import WWWAuthenticate

from webapp.accounts import tokens
from webapp.identity import limits, refusals
from webapp.web.access import act_as


class Sessions(SecureCookieSessionInterface):
    """Flask's, which keeps nothing of a request that brought a token."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write the cookie, unless the request had none to go by."""
        if "by_token" not in g:
            super().save_session(app, session, response)


def authenticate() -> None:
    """Before everything that reads the session: let the request be that of the token's person, or refuse it."""
    given = request.authorization
    if given is None or given.type != "bearer" or not _takes_tokens(request.endpoint):
        return
    g.by_token = True
    session.clear()
    attempt = limits.count_token()
    user = tokens.authenticate(given.token or "")
    if user is None:
        refusals.record("token.wrong", ("token", "", ""))
        abort(401, "This token is unknown or revoked.", www_authenticate=WWWAuthenticate("bearer"))
    attempt.uncount()
    act_as(user)


def _takes_tokens(endpoint: str | None) -> bool:
    view: Any = current_app.view_functions.get(endpoint or "")
    return getattr(view, "takes_tokens", False)
