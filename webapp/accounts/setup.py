"""How Flask-Security is bound to the application."""

from __future__ import annotations

from flask import Flask
from flask_security import SQLAlchemyUserDatastore

from webapp.accounts.access import LIBRARY_ROUTES, Access
from webapp.accounts.models import Role, User
from webapp.config import Settings
from webapp.extensions import db, security


def init_accounts(app: Flask, settings: Settings) -> None:
    """Sign-in, sign-out and the current user."""
    app.config.from_mapping(
        SECURITY_PASSWORD_SALT=settings.secret_key,
        SECURITY_PASSWORD_HASH="argon2",
        SECURITY_PASSWORD_SCHEMES=["argon2"],
        SECURITY_REGISTERABLE=False,
        SECURITY_SEND_REGISTER_EMAIL=False,
        SECURITY_LOGIN_USER_TEMPLATE="accounts/login.html",
        SECURITY_RETURN_GENERIC_RESPONSES=True,
    )
    security.init_app(app, SQLAlchemyUserDatastore(db, User, Role))
    LIBRARY_ROUTES.update(
        {
            "security.login": Access.PUBLIC,
            "security.logout": Access.PUBLIC,
            "security.static": Access.PUBLIC,
            "security.verify": Access.MEMBER,
        }
    )
