"""The time zones that people can choose, and the search for them by name, city or country."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

from markupsafe import Markup

# Names in the time zone database that are not time zones.
NOT_ZONES = ("Factory", "localtime", "posixrules")
MIN_SEARCH_LENGTH = 3
MAX_SUGGESTIONS = 4


@cache
def zone_names() -> tuple[str, ...]:
    """Every IANA name, in order."""
    return tuple(
        sorted(
            name
            for name in available_timezones()
            if name not in NOT_ZONES and not name.startswith(("posix/", "right/"))
        )
    )


@cache
def _by_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in zone_names()}


def find_zone(text: str) -> str | None:
    """The IANA name, in its correct case, of a zone given in any case; None if there is none."""
    return _by_lower_case().get(text.strip().lower())


def meant_zone(text: str) -> str | None:
    """The zone with this IANA name, or the only zone of this city or country; None if there is no single one."""
    if exact := find_zone(text):
        return exact
    wanted = _folded(text)
    found = {_links().get(name, name) for name, words in _search_words().items() if wanted and wanted in words}
    return find_zone(found.pop()) if len(found) == 1 else None


def like_zones(text: str) -> list[str]:
    """Zones whose name, city or country begins with a text or contains it."""
    wanted = _folded(text)
    if len(wanted) < MIN_SEARCH_LENGTH:
        return []
    found = [name for name, words in _search_words().items() if any(wanted in word for word in words)]
    # Those that begin with the text first.
    found.sort(key=lambda name: not any(word.startswith(wanted) for word in _search_words()[name]))
    return [name for name in found if name not in _links()][:MAX_SUGGESTIONS]


def zone_options(now: datetime) -> Markup:
    """Every zone as an HTML option, with its current offset and its country or current name."""
    return _options(now.replace(minute=now.minute // 30 * 30, second=0, microsecond=0))


def offset_words(zone: ZoneInfo, moment: datetime) -> str:
    """The zone's offset at a moment, such as `UTC+05:45`."""
    text = moment.astimezone(zone).strftime("%z")
    return f"UTC{text[:3]}:{text[3:5]}"


# Cached for half an hour, in which no offset changes: reading six hundred zones takes some tenths of a second.
@lru_cache(maxsize=1)
def _options(moment: datetime) -> Markup:
    option = Markup('<option value="{}">{}</option>')
    return Markup("\n").join(option.format(name, _label(name, moment)) for name in zone_names())


def _label(name: str, moment: datetime) -> str:
    place = f"now {_links()[name]}" if name in _links() else _countries().get(name, "")
    return " · ".join(part for part in (offset_words(ZoneInfo(name), moment), place) if part)


@cache
def _search_words() -> Mapping[str, tuple[str, ...]]:
    """Name, city and country of each zone, folded for the search."""
    found = {}
    for name in zone_names():
        country = _countries().get(_links().get(name, name), "")
        found[name] = tuple(filter(None, (_folded(name), _folded(name.rpartition("/")[2]), _folded(country))))
    return found


def _folded(text: str) -> str:
    return text.strip().lower().replace("_", " ").replace("-", " ")


@cache
def _countries() -> Mapping[str, str]:
    """The country of each zone that belongs to a country."""
    named = dict(line.split("\t")[:2] for line in _table("iso3166.tab"))
    rows = (line.split("\t") for line in _table("zone.tab"))
    return {row[2]: named[row[0]] for row in rows if row[0] in named}


@cache
def _links() -> Mapping[str, str]:
    """Former and alternative names of zones, with the current name of each."""
    rows = (line.split(" ") for line in _table("tzdata.zi"))
    places = _countries()
    return {row[2]: row[1] for row in rows if row[0] == "L" and row[2] not in places and row[1] in places}


def _table(name: str) -> list[str]:
    text = (files("tzdata.zoneinfo") / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]
