"""Formats of moments, durations, counts and JSON on pages. Pure functions; all moments are aware."""

from __future__ import annotations

import json
import math
from datetime import datetime
from zoneinfo import ZoneInfo

NOTHING = "\N{EN DASH}"

# (upper limit in seconds, seconds in a unit, the unit's name); static/beatdesk.js has the same table.
_AGO = (
    (60, 1, "s"),
    (3600, 60, "min"),
    (48 * 3600, 3600, "h"),
    (60 * 86400, 86400, "days"),
    (730 * 86400, 30 * 86400, "months"),
    (float("inf"), 365 * 86400, "years"),
)


def ago(moment: datetime | None, now: datetime) -> str:
    """How long before or after `now` a moment lies, in its largest unit: "3 min ago", "in 2 h", "now"."""
    if moment is None:
        return NOTHING
    seconds = (now - moment).total_seconds()
    distance = abs(seconds)
    if distance < 1:
        return "now"
    size, unit = next((size, unit) for limit, size, unit in _AGO if distance < limit)
    text = f"{int(distance // size)} {unit}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def countdown(moment: datetime, now: datetime) -> str:
    """How long it is until a moment, to the second: "4:59", "1:04:59", "2 d 1:04:59"; beatdesk.js does the same."""
    left = max(math.ceil((moment - now).total_seconds()), 0)
    days, hours, minutes, seconds = left // 86400, left // 3600 % 24, left // 60 % 60, left % 60
    clock = f"{hours}:{minutes:02}:{seconds:02}" if left >= 3600 else f"{minutes}:{seconds:02}"
    return f"{days} d {clock}" if days else clock


def exact(moment: datetime | None, zone: ZoneInfo) -> str:
    """A moment to the second in a zone, with its offset, so that the two 02:30 of an autumn night differ."""
    if moment is None:
        return NOTHING
    # strftime would take several times as long, and a page may show hundreds of moments.
    text = moment.astimezone(zone).isoformat(" ", "seconds")
    return f"{text[:19]} {zone.key} (UTC{text[19:25]})"


def clock(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """The time of day of a moment in a zone, with the date where that is not today's."""
    local = moment.astimezone(zone)
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone(zone).date() else f"{local:%Y-%m-%d %H:%M:%S}"


def exact_after(moment: datetime, former: datetime, zone: ZoneInfo) -> str:
    """A moment that follows one shown in full: only its time if day and offset are the same, and how much later."""
    local, before = moment.astimezone(zone), former.astimezone(zone)
    same = (local.date(), local.utcoffset()) == (before.date(), before.utcoffset())
    text = f"{local:%H:%M:%S}" if same else exact(moment, zone)
    # The clocks of several machines may differ a little.
    later = (moment - former).total_seconds()
    return f"{text}, {duration(later)} later" if later >= 0.0005 else text


def duration(seconds: float | None) -> str:
    """A length of time in at most two units: "320 ms", "4.2 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if seconds is None:
        return NOTHING
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    raise AssertionError("unreachable: at least a minute is left")


def pretty_json(text: str | None) -> str:
    """JSON text with indentation; any other text unchanged."""
    if not text:
        return ""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def plural(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: "1 run", "1,204 runs"."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
