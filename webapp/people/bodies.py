"""Bodies about people, and the rules for what they contain; the command line reads them too."""

from __future__ import annotations

import re
import unicodedata
from datetime import date, timedelta, timezone
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo

from webapp.accounts import passwords
from webapp.identity.addresses import checked_email
from webapp.recurrence.zone_search import meant_zone
from webapp.web.bodies import Body, Nullable, Ticked, context_of, needed

LONGEST_NAME = 120
EARLIEST_BIRTHDAY = date(1900, 1, 1)
# Where each day begins first: no zone has a later date.
FIRST_ZONE = timezone(timedelta(hours=14))

# Control characters, halves of characters, private and unassigned ones, line and paragraph separators.
_NO_NAME = ("Cc", "Cs", "Co", "Cn", "Zl", "Zp")
# They turn the direction of the text that follows, beyond the name.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _read_name(value: object) -> str:
    text = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else ""
    if not text:
        raise ValueError("Enter a name.")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"A name has at most {LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in _NO_NAME or character in _DIRECTIONS for character in text):
        raise ValueError("A name cannot contain control characters.")
    return text


def _read_zone(value: object) -> str:
    found = meant_zone(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("Choose a time zone from the list, such as Asia/Kathmandu or UTC.")
    return found


def _read_birthday(value: object, info: ValidationInfo) -> date:
    """It may be today, where the person lives; without a known zone, today anywhere."""
    # `fromisoformat` alone takes week dates and dates without dashes too.
    match = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", str(value).strip())
    try:
        day = date(*map(int, match.groups())) if match else None
    except ValueError:
        day = None
    if day is None:
        raise ValueError("Enter a date as year-month-day, such as 1990-04-30.")
    zone = ZoneInfo(info.data["timezone"]) if "timezone" in info.data else FIRST_ZONE
    if day > context_of(info)["now"].astimezone(zone).date():
        raise ValueError("A birthday cannot be in the future.")
    if day < EARLIEST_BIRTHDAY:
        raise ValueError(f"A birthday cannot be before {EARLIEST_BIRTHDAY.year}.")
    return day


def _check_password(value: object, info: ValidationInfo) -> object:
    if problem := passwords.refusal(value, (info.data.get("email", ""), info.data.get("name", ""))):
        raise ValueError(problem)
    return value


Birthday = Annotated[date, BeforeValidator(_read_birthday)]


class Profile(Body):
    """What a person may change about themselves. `birthday` is a calendar date; `timezone` an IANA name.

    Read with the present moment as `now`.
    """

    name: Annotated[str, BeforeValidator(_read_name)]
    timezone: Annotated[str, BeforeValidator(_read_zone)]
    birthday: Nullable[Birthday] = None


class OwnProfile(Profile):
    """One's own account."""

    wants_birthday_mail: Ticked = False
    wants_report_mail: Ticked = False


class PersonUpdate(Profile):
    """What an admin changes about a person."""

    roles: list[str] = Field(default_factory=list)
    active: Ticked = False


class Account(Body):
    """What a person signs in with, from the command line; without a password a random one."""

    email: Annotated[str, BeforeValidator(checked_email)]
    name: str
    password: Annotated[str, BeforeValidator(_check_password)] = Field(default_factory=passwords.random_password)


class Registration(Profile):
    """A new person. `password` is what was typed."""

    birthday: Annotated[Birthday, needed("Enter your birthday.")]
    email: Annotated[str, BeforeValidator(checked_email)]
    password: Annotated[str, BeforeValidator(_check_password)]
