"""Authentication by `Authorization: Bearer …` instead of a cookie, at the routes that accept it.

Such a request has no session: no cookie is read or set, and no CSRF token is needed, since browsers do not send that
header by themselves. At all other routes the header is ignored.
"""

from __future__ import annotations

from flask import Flask, Response, abort, current_app, g, request, session
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from werkzeug.datastructures import WWWAuthenticate

from webapp.accounts import tokens
from webapp.identity import limits, refusals
from webapp.web.access import act_as


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions, except for requests with a bearer token, whose session is not saved."""

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie, unless the request has a bearer token."""
        if "by_token" not in g:
            super().save_session(app, session, response)


def authenticate() -> None:
    """Make the token's person the current user, or refuse the request. Runs before anything reads the session."""
    given = request.authorization
    view = current_app.view_functions.get(request.endpoint or "")
    if given is None or given.type != "bearer" or not getattr(view, "takes_tokens", False):
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
