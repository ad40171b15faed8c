"""Differences between a schedule that is defined in code and its definition there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from beatdesk.secrecy.sealing import Unopenable
from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import ALL_RULE_FIELDS, RULE_FIELDS, TARGETS, Kind, iso
from webapp.schedule_store.rows import KINDS
from webapp.schedule_store.secret_arguments import opened, shown
from webapp.schedule_store.stored import Stored
from webapp.schedules.history import Change

# The fields that code can define. The others (policies, tags, description) belong to admins.
PLAIN = ("task", "args", "kwargs", "queue", *TARGETS, "priority", "expire_seconds", "enabled")
WHEN = "when"


def code_snapshot(defined: Mapping[str, Any]) -> dict[str, Any]:
    """The definition in code, in the fields of a snapshot; only those that code can define."""
    values = {name: defined[name] for name in PLAIN if name in defined}
    kind = KINDS.get(str(defined.get("kind")))
    if kind is None:
        return values
    values["kind"] = kind.value
    match kind:
        case Kind.CRONTAB:
            values["crontab"] = " ".join(str(defined.get(name, "*")) for name in FIELD_NAMES)
            values["timezone"] = defined.get("timezone", "UTC")
        case Kind.CLOCKED:
            values["at"] = iso(datetime.fromtimestamp(float(defined["clocked_time"]), UTC))
        case _:
            values |= {name: defined[name] for name in RULE_FIELDS[kind]}
    return values


def drifted(schedule: Stored) -> list[Change]:
    """The fields that differ from the code; `before` is the code's value. The rule counts as one field."""
    if schedule.code_definition is None:
        return []
    code, current = _decrypted(code_snapshot(schedule.code_definition)), _decrypted(schedule.snapshot)
    names = [name for name in PLAIN if name in code and code[name] != current.get(name)]
    code_shown, shown_here = shown({**current, **code}), shown(current)
    changes = [Change(name, code_shown[name], shown_here.get(name)) for name in names]
    if any(code.get(name) != current.get(name) for name in _when_fields(code)):
        changes.append(Change(WHEN, _when_words(code), _when_words(current)))
    return changes


def _decrypted(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A snapshot with decrypted secrets, which compare by value; unchanged if they cannot be decrypted."""
    try:
        args, kwargs = opened({"args": [], "kwargs": {}, **snapshot}).plain
    except (Unopenable, AttributeError, TypeError):
        return snapshot
    return snapshot | {name: value for name, value in (("args", args), ("kwargs", kwargs)) if name in snapshot}


def reset_values(schedule: Stored, names: list[str]) -> dict[str, Any]:
    """The values to save in order to reset these fields to the code's, or all fields if none is named."""
    if schedule.code_definition is None:
        return {}
    code = _decrypted(code_snapshot(schedule.code_definition))
    chosen = names or [change.field for change in drifted(schedule)]
    values = {name: code[name] for name in chosen if name in PLAIN and name in code}
    if WHEN in chosen:
        values |= {name: code[name] for name in _when_fields(code)}
    return values


def _when_fields(code: Mapping[str, Any]) -> list[str]:
    return [name for name in ("kind", *ALL_RULE_FIELDS, "timezone") if name in code]


def _when_words(values: Mapping[str, Any]) -> str:
    kind = values.get("kind")
    if kind not in tuple(Kind):
        return "nothing"
    words = " ".join(str(value) for value in (kind, *map(values.get, RULE_FIELDS[Kind(kind)])))
    return f"{words} ({values['timezone']})" if kind == Kind.CRONTAB else words
