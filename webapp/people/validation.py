"""Validates the properties of people, for forms, JSON and command line alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from webapp.accounts import passwords
from webapp.identity.addresses import checked_email
from webapp.recurrence.zone_search import meant_zone
from webapp.web.errors import Invalid

MAX_NAME_LENGTH = 120
EARLIEST_BIRTHDAY = date(1900, 1, 1)
# The first time zone in which a day begins: no local date is later.
FIRST_ZONE = timezone(timedelta(hours=14))

# Control characters, half surrogates, private and unassigned characters, line and paragraph separators.
_FORBIDDEN_CATEGORIES = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
# Characters that change the direction of the text after the name.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Profile:
    """The properties that a person may change. `birthday` is a calendar date, `timezone` an IANA name."""

    name: str
    birthday: date | None
    timezone: str


@dataclass(frozen=True, slots=True)
class Registration:
    """A validated registration. `password` is plain text."""

    profile: Profile
    email: str
    password: str


def check_registration(given: Mapping[str, Any], now: datetime) -> Registration:
    """A registration from submitted values. Raises Invalid with every field at fault."""
    errors: dict[str, str] = {}
    profile = _profile(given, now, errors, birthday_needed=True)
    email = check_email(given.get("email"), errors)
    password = given.get("password")
    if problem := passwords.refusal(password, (email or str(given.get("email", "")), profile.name if profile else "")):
        errors["password"] = problem
    if errors or profile is None or email is None:
        raise Invalid(errors)
    return Registration(profile, email, str(password))


def check_profile(given: Mapping[str, Any], now: datetime) -> Profile:
    """A profile from submitted values; the birthday may be empty. Raises Invalid with every field at fault."""
    errors: dict[str, str] = {}
    profile = _profile(given, now, errors, birthday_needed=False)
    if errors or profile is None:
        raise Invalid(errors)
    return profile


def check_email(value: object, errors: dict[str, str]) -> str | None:
    """The address as it is stored; None with the reason in `errors` if it is invalid."""
    try:
        return checked_email(value)
    except ValueError as error:
        errors["email"] = str(error)
        return None


def validate_name(value: object, errors: dict[str, str]) -> str | None:
    """The name as it is stored; None with the reason in `errors` if it is invalid."""
    text = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else ""
    if not text:
        errors["name"] = "Enter a name."
    elif len(text) > MAX_NAME_LENGTH:
        errors["name"] = f"A name has at most {MAX_NAME_LENGTH} characters."
    elif any(
        unicodedata.category(character) in _FORBIDDEN_CATEGORIES or character in _DIRECTIONS for character in text
    ):
        errors["name"] = "A name cannot contain control characters."
    else:
        return text
    return None


def validate_zone(value: object, errors: dict[str, str]) -> str | None:
    """The IANA name of a zone; None with the reason in `errors` if there is no such zone."""
    found = meant_zone(value) if isinstance(value, str) else None
    if found is None:
        errors["timezone"] = "Choose a time zone from the list, such as Asia/Kathmandu or UTC."
    return found


def validate_birthday(
    value: object, zone: str | None, now: datetime, errors: dict[str, str], *, needed: bool
) -> date | None:
    """The date of birth; None if it is empty, or if it is invalid, with the reason in `errors`.

    The latest date allowed is today in the person's time zone; without a valid zone, today anywhere.
    """
    text = value.strip() if isinstance(value, str) else "" if value is None else str(value)
    if not text:
        if needed:
            errors["birthday"] = "Enter your birthday."
        return None
    day = _iso_date(text)
    today = now.astimezone(ZoneInfo(zone) if zone else FIRST_ZONE).date()
    if day is None:
        errors["birthday"] = "Enter a date as year-month-day, such as 1990-04-30."
    elif day > today:
        errors["birthday"] = "A birthday cannot be in the future."
    elif day < EARLIEST_BIRTHDAY:
        errors["birthday"] = f"A birthday cannot be before {EARLIEST_BIRTHDAY.year}."
    else:
        return day
    return None


def _profile(
    given: Mapping[str, Any], now: datetime, errors: dict[str, str], *, birthday_needed: bool
) -> Profile | None:
    if now.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    name = validate_name(given.get("name"), errors)
    zone = validate_zone(given.get("timezone"), errors)
    birthday = validate_birthday(given.get("birthday"), zone, now.astimezone(UTC), errors, needed=birthday_needed)
    return Profile(name, birthday, zone) if name is not None and zone is not None else None


def _iso_date(text: str) -> date | None:
    # `fromisoformat` also accepts week dates and dates without dashes.
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
