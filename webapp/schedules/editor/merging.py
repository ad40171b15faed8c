"""Two people edited one schedule at once: what each of them changed, and both put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.schedule_store.definition import FIELDS, RULE_FIELDS, TARGETS, Kind
from webapp.schedules.editor.forms import form_values


@dataclass(frozen=True, slots=True)
class Side:
    """One field as it was, as the other person saved it, and as it was typed here. Texts of the form."""

    field: str
    was: str
    theirs: str
    mine: str

    @property
    def clash(self) -> bool:
        """Whether both changed it, and not to the same."""
        return self.mine != self.theirs and self.was not in (self.mine, self.theirs)


@dataclass(frozen=True, slots=True)
class Merged:
    """The fields that differ anywhere, and the form that keeps what either changed; a clash keeps mine."""

    sides: list[Side]
    values: dict[str, str]


def merge(base: Mapping[str, Any], theirs: Mapping[str, Any], given: Mapping[str, Any]) -> Merged:
    """Put them together. `base` and `theirs` are snapshots, `given` is what was typed."""
    # Versions of former releases do not say what has become a field since.
    base = {name: theirs.get(name) for name in TARGETS} | dict(base)
    was, saved = form_values(base), form_values(theirs)
    typed = {**was, **{name: str(value) for name, value in given.items() if name in FIELDS}}
    sides = [
        Side(name, was[name], saved[name], typed[name])
        for name in FIELDS
        if not was[name] == saved[name] == typed[name] and _told(name, typed, saved)
    ]
    values = {name: saved[name] if typed[name] == was[name] else typed[name] for name in FIELDS}
    return Merged(sides, values)


def _told(name: str, typed: Mapping[str, str], saved: Mapping[str, str]) -> bool:
    """Fields of a kind that nobody chose lie in the form unseen."""
    for kind in Kind:
        if name in RULE_FIELDS[kind]:
            return kind.value in (typed["kind"], saved["kind"])
    return True
