"""The versions of a schedule: its definition at each save."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.extensions import db
from webapp.schedule_store.definition import FIELDS, TARGETS
from webapp.schedule_store.models import ScheduleVersion
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.stored import Stored
from webapp.web.parameters import LARGEST_ID

SHOWN = 50
# The author of changes made on the command line.
COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Change:
    """A field that differs between two versions; None if a version does not have it."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Version:
    """A saved version, with its author, its time, and the differences from the version before."""

    version: int
    author: str
    created_at: datetime
    snapshot: dict[str, Any]
    changes: Sequence[Change]


def versions(schedule_id: int) -> list[Version]:
    """The last versions, newest first."""
    query = sa.select(ScheduleVersion).where(ScheduleVersion.schedule_id == schedule_id)
    rows = list(db.session.scalars(query.order_by(ScheduleVersion.version.desc()).limit(SHOWN + 1)))
    snapshots = [json.loads(row.snapshot) for row in rows]
    return [
        Version(
            row.version,
            row.author,
            row.created_at,
            snapshot,
            differences(snapshots[place + 1], snapshot) if place + 1 < len(rows) else [],
        )
        for place, (row, snapshot) in enumerate(zip(rows, snapshots, strict=True))
    ][:SHOWN]


def last_save(schedule: Stored) -> tuple[str, datetime]:
    """Who saved the current version, as the beginning of a sentence, and when."""
    query = sa.select(ScheduleVersion.author, ScheduleVersion.created_at).where(
        ScheduleVersion.schedule_id == schedule.id, ScheduleVersion.version == schedule.row.version
    )
    # Before its first edit on a page, a schedule of another program has no version.
    author, at = db.session.execute(query).first() or ("another program", schedule.row.changed_at)
    name = "the command line" if author == COMMAND_LINE else author.partition(" <")[0]
    return name[:1].upper() + name[1:], at


def snapshot_of(schedule_id: int, version: int) -> dict[str, Any] | None:
    """The snapshot of a version; None if there is no such version."""
    if version > LARGEST_ID:
        return None
    query = sa.select(ScheduleVersion.snapshot).where(
        ScheduleVersion.schedule_id == schedule_id, ScheduleVersion.version == version
    )
    text = db.session.execute(query).scalar()
    return None if text is None else dict(json.loads(text))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The fields that differ, in the order of the form, with secrets masked."""
    # Versions of earlier releases lack fields that were added later.
    before = {name: after.get(name) for name in TARGETS} | dict(before)
    names = [name for name in FIELDS if before.get(name) != after.get(name)]
    if {"args", "kwargs"}.intersection(names):
        before, after = shown(before), shown(after)
    return [Change(name, before.get(name), after.get(name)) for name in names]
