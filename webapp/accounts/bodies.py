"""Bodies about signing in and passwords. Whether a password is right or strong enough is checked by the service."""

from __future__ import annotations

from webapp.web.bodies import Body, Typed


class MailedLink(Body):
    """Where to mail a link."""

    email: Typed = ""


class SignIn(MailedLink):
    """Who signs in."""

    password: Typed = ""


class PasswordReset(Body):
    """The new password of a person who followed a link."""

    password: Typed = ""


class PasswordChange(PasswordReset):
    """The current password, and the new one."""

    new_password: Typed = ""
