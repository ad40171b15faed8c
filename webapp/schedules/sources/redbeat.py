"""Imports RedBeat's schedules from Redis, as celery-redbeat 2 stores them.

Each is a hash at `PREFIX` + name, whose field `definition` is JSON. `PREFIX:schedule` is a sorted set of the keys that
RedBeat fires, `PREFIX:statics` the set of the names from an app's own `beat_schedule`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from celery.schedules import crontab, schedule

from beatdesk.encoding import STRICT_NUMBERS, encodable_value
from webapp.config import ConfigError
from webapp.messaging.redis_hashes import Unreachable, connected, read_hashes
from webapp.schedules.sources.given import MAX_ENTRIES, Given, check_names, check_values, refuse
from webapp.schedules.sources.python.beat_schedule import from_entry
from webapp.schedules.sources.python.timezone import Zone, chosen_or
from webapp.web.errors import Invalid

PREFIX = "redbeat:"
# RedBeat's own keys begin with the prefix and another colon.
_OWN = ("schedule", "statics", "lock")
_STATIC = "It comes from the beat_schedule of the app, which would write it to RedBeat again."
_NOT_FIRED = "RedBeat does not fire it, because its set of due times lacks it: it is imported disabled."


def from_redbeat(url: str, prefix: str, chosen: str) -> list[Given]:
    """All schedules of RedBeat. `chosen` is the Celery app's time zone, which it does not store. Raises Invalid."""
    own = {f"{prefix}:{name}" for name in _OWN}
    try:
        with connected("--redbeat", url) as client:
            hashes = dict(read_hashes(client, prefix, "definition", MAX_ENTRIES + len(own) + 1))
            fired = set(client.zrange(f"{prefix}:schedule", 0, -1))
            statics = set(client.smembers(f"{prefix}:statics"))
    except (ConfigError, Unreachable) as error:
        raise Invalid({"redbeat": str(error)}) from error
    zone = chosen_or(chosen, "RedBeat keeps no time zone")
    found = []
    for key in hashes.keys() - own:
        one = _given(key.removeprefix(prefix), hashes[key], zone)
        fields, notes = dict(one.fields), list(one.notes)
        if one.name in statics:
            notes.append(_STATIC)
        if key not in fired and fields.get("enabled"):
            fields["enabled"] = False
            notes.append(_NOT_FIRED)
        found.append(replace(one, fields=encodable_value(fields), notes=notes))
    if not found:
        raise refuse(f"There is no key that begins with “{prefix}” and has a name after it.")
    check_values(found)
    return check_names(sorted(found, key=lambda one: one.name))


def _given(name: str, definition: str | None, zone: Zone) -> Given:
    if definition is None:
        return Given(name, error="Its key is not a hash with a definition.")
    try:
        value = json.loads(definition, object_hook=_with_moment, **STRICT_NUMBERS)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return Given(name, error=f"Its definition is not JSON as RedBeat writes it: {error}.")
    if not isinstance(value, dict):
        return Given(name, error="Its definition is not a JSON object.")
    name = str(value.pop("name", "") or name)
    enabled = bool(value.pop("enabled", True))
    try:
        given = from_entry(name, value | {"schedule": _rule(value.get("schedule"))}, zone)
    except Exception as error:  # noqa: BLE001  # Celery raises errors of any kind about invalid schedules
        return Given(name, error=f"It cannot be read: {error}.")
    return replace(given, fields={**given.fields, "enabled": enabled} if given.fields else {})


def _rule(value: Any) -> Any:
    """A Celery schedule from RedBeat's JSON. Raises ValueError, and any error of Celery."""
    if not isinstance(value, Mapping):
        return value
    match value.get("__type__"):
        case "crontab":
            return crontab(**{name: field for name, field in value.items() if name != "__type__"})
        case "interval":
            return schedule(run_every=timedelta(seconds=value["every"]), relative=bool(value.get("relative")))
        case kind:
            raise ValueError(f"its schedule is of the type “{kind}”, and only crontab and interval can be imported")


def _with_moment(value: dict[str, Any]) -> dict[str, Any]:
    """A date and time among the arguments, from RedBeat's form to the one that Celery sends to tasks."""
    if value.get("__type__") != "datetime" or "year" not in value:
        return value
    parts = {name: part for name, part in value.items() if name not in ("__type__", "timezone")}
    zone = value.get("timezone", "UTC")
    tz = ZoneInfo(zone) if isinstance(zone, str) else timezone(timedelta(seconds=zone))
    return {"__type__": "datetime", "__value__": datetime(**parts, tzinfo=tz).isoformat()}
