"""Determines the time zone of the times in a `beat_schedule`: Celery's setting, else UTC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from webapp.schedules.sources.python.module import Module
from webapp.schedules.sources.python.values import REMOVED, Table, Write, join_lines

# In the order in which Celery reads them.
ZONES = ("timezone", "CELERY_TIMEZONE")
DJANGO = ("TIME_ZONE",)
ENABLED = ("enable_utc", "CELERY_ENABLE_UTC")


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone and its source; `error` is why the user has to choose one."""

    name: str = "UTC"
    why: str = ""
    error: str | None = None

    def notes(self) -> list[str]:
        """The notes for a schedule in this time zone."""
        return [f"Times are in {self.name}, {self.why}."] if self.why else []


def chosen_or(chosen: str, why: str, *, must_choose: bool = False) -> Zone:
    """The zone of a source that names none: the chosen one, else Celery's default, or an error."""
    if chosen:
        return Zone(chosen, f"as chosen, because {why}")
    if must_choose:
        error = f"{why[:1].upper()}{why[1:]}. Choose the time zone: --timezone, or its field on the page."
        return Zone(error=error)
    return Zone("UTC", f"Celery's default, because {why}")


class SourceZones:
    """The time zones of the schedules in Python source; `chosen` is for those without one."""

    def __init__(self, module: Module, chosen: str) -> None:
        self.module = module
        self.chosen = chosen
        self._in_file = {
            names: self._writes([(table, key) for table, key in module.settings if key.rpartition(".")[2] in names])
            for names in (ZONES, DJANGO, ENABLED)
        }

    def of(self, table: Table, key: str) -> Zone:
        """The zone of the schedule at `key` of `table`: from a setting beside it, else from any in the file."""
        prefix = key.rpartition(".")[0]
        for names in (ZONES, DJANGO):
            places = [(table, f"{prefix}.{name}".lstrip(".")) for name in names]
            # A scope may have other things with this name, such as modules and arguments.
            own = [place for place in places if not table.scope or place in self.module.settings]
            if found := self._writes(own) or self._in_file[names]:
                return _from_writes(found, self.chosen)
        for write in self._in_file[ENABLED]:
            if write.value is False:
                why = f"line {write.line} turns enable_utc off, so that Celery takes the zone of the machine it runs on"
                return chosen_or(self.chosen, why, must_choose=True)
        why = "the file names no zone"
        for one in self.module.imports[:1]:
            why += f" (line {one.line} takes settings from elsewhere, which may name one)"
        return chosen_or(self.chosen, why)

    def _writes(self, places: Sequence[tuple[Table, str]]) -> list[Write]:
        found = [write for table, key in places for write in table.possible(key)]
        return [write for write in found if write.value is not None and write.value is not REMOVED]


def _from_writes(writes: Sequence[Write], chosen: str) -> Zone:
    names = {_name(write.value) for write in writes}
    lines = join_lines({write.line for write in writes})
    if len(names) == 1 and (name := names.pop()):
        return Zone(name, f"from {lines}")
    unread = next((write for write in writes if not _name(write.value)), None)
    if unread:
        why = f"the time zone in line {unread.line} cannot be read without running it"
    else:
        why = f"{lines} name different time zones"
    return chosen_or(chosen, why, must_choose=True)


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def of_objects(owners: Sequence[Any], path: str, chosen: str) -> Zone:
    """The zone of an imported schedule; `owners` are the objects that contain it, the nearest first."""
    for name in (*ZONES, *DJANGO):
        for found in (_setting(owner, name) for owner in owners):
            if isinstance(found, str | tzinfo):
                return Zone(str(found), f"from “{name}” in the settings of {path}")
    if any(_setting(owner, name) is False for owner in owners for name in ENABLED):
        why = f"the settings of {path} turn enable_utc off, so that Celery takes the zone of the machine it runs on"
        return chosen_or(chosen, why, must_choose=True)
    return chosen_or(chosen, f"the settings of {path} name no zone")


def _setting(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
