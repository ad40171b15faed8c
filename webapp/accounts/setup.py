"""Sets up Flask-Security for the application."""

from __future__ import annotations

from flask import Flask
from flask_security import SQLAlchemyUserDatastore, user_authenticated

from webapp.accounts import sessions
from webapp.accounts.constant_time import MIN_RESPONSE_SECONDS
from webapp.config import Settings
from webapp.extensions import db, security
from webapp.identity.models import Role, User

# OWASP's recommendation for argon2id: 46 MiB, one pass. About 30 ms of one processor.
PRODUCTION_COST = {"argon2__memory_cost": 47104, "argon2__time_cost": 1, "argon2__parallelism": 1}
# The same algorithm at its lowest cost: the tests sign in a thousand times.
TESTING_COST = {"argon2__memory_cost": 64, "argon2__time_cost": 1, "argon2__parallelism": 1}


def init_accounts(app: Flask, settings: Settings) -> None:
    """Set up sign-in, sign-out and the current user.

    Flask-Security stores people and hashes passwords; the pages are ours, so that they have rate limits, audit and
    JSON like all the others.
    """
    app.config.from_mapping(
        SECURITY_PASSWORD_SALT=settings.secret_key,
        SECURITY_PASSWORD_HASH="argon2",
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        # Without this, the library would mix in the secret key first, and no password would match after a change of it.
        SECURITY_PASSWORD_SINGLE_HASH=["argon2"],
        SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS=TESTING_COST if settings.testing else PRODUCTION_COST,
        SECURITY_API_ENABLED_METHODS=["session"],
        SECURITY_RETURN_GENERIC_RESPONSES=True,
        # The library's own commands would write without an audit row.
        SECURITY_CLI_USERS_NAME="",
        SECURITY_CLI_ROLES_NAME="",
        EVEN_ANSWER_SECONDS=0.0 if settings.testing else MIN_RESPONSE_SECONDS,
    )
    security.init_app(app, SQLAlchemyUserDatastore(db, User, Role), register_blueprint=False)
    login_manager = app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    login_manager.user_loader(sessions.load)
    # The library's own signed tokens would stay valid after a sign-out.
    login_manager.request_loader(lambda _request: None)
    user_authenticated.connect(sessions.started, app)
