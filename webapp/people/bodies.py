"""What may be said about a person: the one home of these rules, for form, JSON and command line."""

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

LONGEST_NAME = 120
EARLIEST_BIRTHDAY = date(1900, 1, 1)
# Where the day begins first. Nobody's today is later than today there.
FIRST_ZONE = timezone(timedelta(hours=14))

# Control characters, halves of characters, private and unassigned ones, line and paragraph separators.
_NO_NAME = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
# They turn the direction of the text that follows, beyond the name.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a person may change about themselves. `birthday` is a calendar date; `timezone` an IANA name."""

    name: str
    birthday: date | None
    timezone: str


@dataclass(frozen=True, slots=True)
class Registration:
    """Somebody who wants to join. `password` is what was typed."""

    profile: Profile
    email: str
    password: str


def check_registration(given: Mapping[str, Any], now: datetime) -> Registration:
    """A registration from what was typed. Raises Invalid with every field at fault."""
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
    """A profile from what was typed; without a birthday when that is left empty. Raises Invalid."""
    errors: dict[str, str] = {}
    profile = _profile(given, now, errors, birthday_needed=False)
    if errors or profile is None:
        raise Invalid(errors)
    return profile


def check_email(value: object, errors: dict[str, str]) -> str | None:
    """The address as it is kept, or None with the reason in `errors`."""
    try:
        return checked_email(value)
    except ValueError as error:
        errors["email"] = str(error)
        return None


def check_name(value: object, errors: dict[str, str]) -> str | None:
    """The name as it is kept, or None with the reason in `errors`."""
    text = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else ""
    if not text:
        errors["name"] = "Enter a name."
    elif len(text) > LONGEST_NAME:
        errors["name"] = f"A name has at most {LONGEST_NAME} characters."
    elif any(unicodedata.category(character) in _NO_NAME or character in _DIRECTIONS for character in text):
        errors["name"] = "A name cannot contain control characters."
    else:
        return text
    return None


def check_zone(value: object, errors: dict[str, str]) -> str | None:
    """The IANA name that was meant, or None with the reason in `errors`."""
    found = meant_zone(value) if isinstance(value, str) else None
    if found is None:
        errors["timezone"] = "Choose a time zone from the list, such as Asia/Kathmandu or UTC."
    return found


def check_birthday(
    value: object, zone: str | None, now: datetime, errors: dict[str, str], *, needed: bool
) -> date | None:
    """The day of birth, or None: left empty, or with the reason in `errors`.

    It may be today, where the person lives; without a known zone, today anywhere.
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
    name = check_name(given.get("name"), errors)
    zone = check_zone(given.get("timezone"), errors)
    birthday = check_birthday(given.get("birthday"), zone, now.astimezone(UTC), errors, needed=birthday_needed)
    return Profile(name, birthday, zone) if name is not None and zone is not None else None


def _iso_date(text: str) -> date | None:
    # `fromisoformat` alone takes week dates and dates without dashes too.
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
