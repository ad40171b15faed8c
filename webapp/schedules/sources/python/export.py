"""Exports schedules as the source of Celery's `beat_schedule`, with comments for what Celery does not support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from textwrap import indent
from typing import Any

from beatdesk.encoding import one_line
from beatdesk.secrecy.masking import masked_value
from beatdesk.secrecy.text import MASK
from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import ALL_RULE_FIELDS, DEFAULTS, RULE_FIELDS, Kind
from webapp.schedule_store.secret_arguments import exported, shown
from webapp.secrecy.rows import sealed_places

HEAD = """\
# Schedules for Celery's own beat. Load it with app.config_from_object("beat_schedule").
# That beat has one time zone for all crontabs, counts intervals from its own start, runs once what it missed,
# however long ago, and lets the runs of a schedule overlap.
"""
EPHEM = "# Solar events need the package ephem.\n"
# The modules of the names in an entry.
_MODULES = {
    "timedelta": "datetime", "inf": "math", "nan": "math", "crontab": "celery.schedules", "solar": "celery.schedules",
}  # fmt: skip
# Celery's names of options.
_OPTIONS = {
    "queue": "queue", "exchange": "exchange", "routing_key": "routing_key", "headers": "headers",
    "priority": "priority", "expire_seconds": "expires",
}  # fmt: skip
_NOTHING: tuple[Any, ...] = (None, "", {})
_EXPRESSED = {"enabled", "args", "kwargs", "timezone", *_OPTIONS}


def to_source(schedules: Sequence[Mapping[str, Any]]) -> str:
    """The Python source of complete snapshots.

    Each may also have `exchange`, `routing_key`, `headers` and `paused`, and `problem`, the reason why it cannot fire.
    """
    zone = _zone(schedules)
    entries = [_entry(one, zone) for one in schedules]
    used = set().union(*(names for _text, names in entries))
    imports = "".join(
        f"from {module} import {', '.join(sorted(names))}\n"
        for module in dict.fromkeys(_MODULES.values())
        if (names := {name for name in used if _MODULES.get(name) == module})
    )
    inside = indent("".join(text for text, _names in entries), "    ")
    parts = [HEAD + EPHEM * ("solar" in used), imports, f"timezone = {zone!r}\n", f"beat_schedule = {{\n{inside}}}\n"]
    return "\n".join(filter(None, parts))


def _zone(schedules: Sequence[Mapping[str, Any]]) -> str:
    """The time zone of most enabled crontabs, or of most crontabs if none is enabled."""
    crontabs = [one for one in schedules if one["kind"] == Kind.CRONTAB and not one.get("problem")]
    counted = Counter((bool(one["enabled"]), str(one["timezone"])) for one in crontabs)
    return max(counted, key=lambda found: (found[0], counted[found]), default=(True, "UTC"))[1]


def _entry(one: Mapping[str, Any], zone: str) -> tuple[str, Set[str]]:
    """The source of one entry, and the names that it uses."""
    try:
        entry = _entry_source(one, zone)
        names = frozenset(compile(f"{{{entry}}}", "beat_schedule", "eval").co_names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"# {one['name']!r} is left out: its arguments are nested too deep.\n", frozenset()
    if reasons := _left_out(one):
        entry = indent("".join(f"{reason}\n" for reason in reasons) + entry, "# ")
    return entry, names


def _entry_source(one: Mapping[str, Any], zone: str) -> str:
    entry = {"task": repr(one["task"])}
    if rule := _rule(one):
        entry["schedule"] = rule
    # Secrets are masked: Celery cannot decrypt them, and would pass the ciphertext to the task.
    entry |= {name: repr(shown(one)[name]) for name in ("args", "kwargs") if one[name]}
    options = {called: masked_value(one[name]) for name, called in _OPTIONS.items() if one.get(name) not in _NOTHING}
    if options:
        entry["options"] = repr(options)
    notes = "".join(f"    # {text}\n" for text in _notes(one, zone, entry))
    fields = "".join(f"    {name!r}: {text},\n" for name, text in entry.items())
    return f"{one['name']!r}: {{\n{notes}{fields}}},\n"


def _rule(one: Mapping[str, Any]) -> str:
    """The source of the rule; empty if Celery has no equivalent."""
    if one.get("problem"):
        return ""
    match one["kind"]:
        case Kind.INTERVAL:
            return f"timedelta({one['period']}={one['every']})"
        case Kind.CRONTAB:
            parts = zip(FIELD_NAMES, str(one["crontab"]).split(), strict=True)
            return f"crontab({', '.join(f'{name}={text!r}' for name, text in parts)})"
        case Kind.SOLAR:
            return f"solar({one['event']!r}, {one['latitude']}, {one['longitude']})"
    return ""


def _left_out(one: Mapping[str, Any]) -> list[str]:
    """Why the entry is commented out; empty if Celery can run it."""
    if one.get("problem"):
        return [f"It cannot fire: {one_line(str(one['problem']))}"]
    reasons = ["Celery has no schedule that runs once."] if one["kind"] == Kind.CLOCKED else []
    return reasons if one["enabled"] else [*reasons, "Disabled."]


def _notes(one: Mapping[str, Any], zone: str, entry: Mapping[str, str]) -> list[str]:
    """Notes on what the entry cannot express."""
    expressed = {*_EXPRESSED, *(RULE_FIELDS[Kind(one["kind"])] if "schedule" in entry else ())}
    missing = [name for name in (*ALL_RULE_FIELDS, *DEFAULTS) if name in one and name not in expressed]
    found = [
        f"Celery has no equivalent: {name} = {one[name]!r}"
        for name in missing
        if name not in DEFAULTS or one[name] != DEFAULTS[name]
    ]
    if one["timezone"] != zone:
        differs = f"; Celery takes its times as those of {zone}" if one["kind"] == Kind.CRONTAB else ""
        found.append(f"Celery has no equivalent: timezone = {one['timezone']!r}{differs}")
    if one.get("paused"):
        found.append("It is paused; Celery runs it.")
    places = sealed_places(*(exported(one)[name] for name in ("args", "kwargs")))
    if masked_value(one.get("headers")) != one.get("headers"):
        places.append("options.headers")
    if places:
        found.append(f"Secret, and not written here: {', '.join(places)}. Put the values in the places of {MASK}.")
    return found
