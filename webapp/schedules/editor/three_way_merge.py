"""Merges two edits of one schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.schedule_store.definition import FIELDS, RULE_FIELDS, TARGETS, Kind
from webapp.schedules.editor.forms import form_values


@dataclass(frozen=True, slots=True)
class Side:
    """One field as it was, as the other user saved it, and as it was typed here. Texts of the form."""

    field: str
    was: str
    theirs: str
    mine: str

    @property
    def clash(self) -> bool:
        """Whether both changed it, to different values."""
        return self.mine != self.theirs and self.was not in (self.mine, self.theirs)


@dataclass(frozen=True, slots=True)
class Merged:
    """The fields that differ, and the merged form; where both changed a field, it has my value."""

    sides: list[Side]
    values: dict[str, str]


def merge(base: Mapping[str, Any], theirs: Mapping[str, Any], given: Mapping[str, Any]) -> Merged:
    """Merge two edits of `base`. `base` and `theirs` are snapshots, `given` are the typed values."""
    # Versions of earlier releases lack fields that were added later.
    base = {name: theirs.get(name) for name in TARGETS} | dict(base)
    was, saved = form_values(base), form_values(theirs)
    typed = {**was, **{name: str(value) for name, value in given.items() if name in FIELDS}}
    sides = [
        Side(name, was[name], saved[name], typed[name])
        for name in FIELDS
        if not was[name] == saved[name] == typed[name] and _is_visible(name, typed, saved)
    ]
    values = {name: saved[name] if typed[name] == was[name] else typed[name] for name in FIELDS}
    return Merged(sides, values)


def _is_visible(name: str, typed: Mapping[str, str], saved: Mapping[str, str]) -> bool:
    """Whether a field is visible: those of a kind that neither side chose are hidden in the form."""
    for kind in Kind:
        if name in RULE_FIELDS[kind]:
            return kind.value in (typed["kind"], saved["kind"])
    return True
