"""Parsers of single fields, from the text of a form or from JSON. Each raises FieldError with a sentence."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from webapp.recurrence.zone_search import like_zones, meant_zone
from webapp.recurrence.zones import wall_offsets
from webapp.runs.call.arguments import read_json
from webapp.web.bodies import is_empty

Value = TypeVar("Value")

MAX_INTEGER = 2**31 - 1
MAX_JSON_LENGTH = 65_536
MAX_DESCRIPTION_LENGTH = 4_000
MAX_TAGS, MAX_TAG_LENGTH = 20, 40
_DURATION = re.compile(r"([0-9.,]+)\s*([smhd])", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
# Control characters, half surrogates, line and paragraph separators, which databases or pages cannot represent.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")
_UNFIT_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


class FieldError(ValueError):
    """The value of one field is invalid; the message is a sentence for people."""


def line(value: Any, *, most: int = 255) -> str:
    """One line of text, stripped."""
    if not isinstance(value, str):
        raise FieldError("Enter text.")
    text = unicodedata.normalize("NFC", value).strip()
    if len(text) > most:
        raise FieldError(f"Use at most {most} characters; this has {len(text)}.")
    if _UNFIT.search(text):
        raise FieldError("Remove control characters and line breaks.")
    return text


def lines(value: Any) -> str:
    """Text of several lines."""
    if not isinstance(value, str):
        raise FieldError("Enter text.")
    text = value.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(text) > MAX_DESCRIPTION_LENGTH:
        raise FieldError(f"Use at most {MAX_DESCRIPTION_LENGTH:,} characters; this has {len(text):,}.")
    if _UNFIT_IN_LINES.search(text):
        raise FieldError("Remove control characters.")
    return text


def whole(value: Any, low: int = -MAX_INTEGER, high: int = MAX_INTEGER) -> int:
    """A whole number within bounds."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise FieldError("Enter a whole number.")
    if not low <= value <= high:
        raise FieldError(f"It must be at least {low:,}." if value < low else f"It must be at most {high:,}.")
    return value


def decimal(value: Any) -> float:
    """A finite number."""
    try:
        number = float(value.strip().replace(",", ".") if isinstance(value, str) else value)
    except OverflowError as error:
        raise FieldError("The number is too large.") from error
    except (ValueError, TypeError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise FieldError("Enter a number.")
    return number


def duration(value: Any) -> float:
    """Seconds, from a duration such as "90s", "5m", "2h" or "1d", or from a plain number of seconds."""
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        return decimal(found[1]) * _UNITS[found[2].lower()] if found else decimal(value)
    except FieldError as error:
        raise FieldError("Enter a duration such as 90s, 5m or 2h.") from error


def choice(value: Any, options: Iterable[str], synonyms: dict[str, str] | None = None) -> str:
    """One of the options, in any case, and with spaces, dashes or underscores between its words."""
    known = {_folded(option): option for option in options}
    text = _folded(value) if isinstance(value, str) else ""
    text = _folded((synonyms or {}).get(text, text))
    if text not in known:
        raise FieldError(f"Choose one of: {', '.join(known.values())}.")
    return known[text]


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", text.strip().lower())


def json_value(value: Any, kind: type, words: str) -> Any:
    """A JSON list or object, from its text or as it is; nothing and `null` mean an empty one. `words` names it."""
    value = None if is_empty(value) else value
    typed = isinstance(value, str)
    if typed:
        try:
            value = read_json(value)
        except ValueError as error:
            raise FieldError(str(error)) from error
    if value is None:
        value = kind()
    if not isinstance(value, kind):
        raise FieldError(f"Enter {words}.")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if not typed:
            # JSON text has half surrogates as escapes, which are kept; in a value, they are not escaped yet.
            text.encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise FieldError("This cannot be stored as JSON.") from error
    if len(text) > MAX_JSON_LENGTH:
        raise FieldError(f"Use at most {MAX_JSON_LENGTH:,} characters; this has {len(text):,}.")
    return value


def timezone(value: Any) -> str:
    """The IANA name of a time zone given by its name in any case, or by a city or country."""
    found = meant_zone(value) if isinstance(value, str) else None
    if found is None:
        like = like_zones(value) if isinstance(value, str) else []
        such = " or ".join(like) or "Asia/Kathmandu or UTC"
        raise FieldError(f"Choose a time zone from the list, such as {such}.")
    return found


def tags(value: Any) -> list[str]:
    """Tags from comma-separated text or a list: stripped, without duplicates, in the given order."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list):
        raise FieldError("Enter tags separated by commas.")
    found = list(dict.fromkeys(tag for tag in (line(part, most=MAX_TAG_LENGTH) for part in parts) if tag))
    if any("," in tag for tag in found):
        raise FieldError("A tag cannot contain a comma.")
    if len(found) > MAX_TAGS:
        raise FieldError(f"Use at most {MAX_TAGS} tags.")
    return found


def moment(value: Any, zone: ZoneInfo) -> datetime:
    """A moment in UTC from ISO 8601 text; without an offset it is a local time in the zone.

    Of a local time that clocks repeat, the first is used, as for a crontab; one that they skip is refused.
    """
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
    except (AttributeError, ValueError) as error:
        raise FieldError("Enter a date and time such as 2027-10-30 22:00.") from error
    if not 1970 <= found.year <= 9998:
        raise FieldError("The year must be from 1970 to 9998.")
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    first, second = wall_offsets(zone, found)
    if first < second:
        raise FieldError(f"{found:%H:%M} does not exist on {found:%Y-%m-%d} in {zone.key} because clocks go forward.")
    return found.replace(tzinfo=zone, fold=0).astimezone(UTC)


def moment_text(value: datetime, zone: ZoneInfo) -> str:
    """A moment as a form shows it: its local time, with an offset only if that is needed to identify it."""
    local = value.astimezone(zone)
    if local.replace(fold=0).astimezone(UTC) == value:
        local = local.replace(tzinfo=None)
    return local.isoformat(timespec="auto" if local.second or local.microsecond else "minutes")
