"""The properties of a person as JSON values, for the audit and for programs."""

from __future__ import annotations

from typing import Any

from webapp.identity.models import User


def snapshot(user: User) -> dict[str, Any]:
    """Everything that can be changed about a person, without the password."""
    return {
        "email": user.email,
        "name": user.name,
        "birthday": user.birthday.isoformat() if user.birthday else None,
        "timezone": user.timezone,
        "wants_birthday_mail": user.wants_birthday_mail,
        "wants_report_mail": user.wants_report_mail,
        "active": user.active,
        "roles": sorted(role.name for role in user.roles),
    }
