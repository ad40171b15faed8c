"""The secret arguments in a schedule's snapshot: masked for people, sealed for tables and exports, opened to be run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from beatdesk.secrecy.masking import Concealed
from beatdesk.secrecy.sealing import VERSION, Unopenable
from webapp.secrecy import rows
from webapp.task_catalogue.registry import rule_for

Snapshot = Mapping[str, Any]


def shown(snapshot: Snapshot) -> dict[str, Any]:
    """For people and programs: a mask in the place of each secret."""
    return _with_call(snapshot, rows.shown_call(*_call(snapshot)))


def sealed(snapshot: Snapshot) -> dict[str, Any]:
    """For tables of ours: what code or another program wrote as plain text is sealed too; seals stay as they are."""
    return _with_call(snapshot, _sealed(snapshot)) if _is_call(snapshot) else dict(snapshot)


def exported(snapshot: Snapshot) -> dict[str, Any]:
    """For a file that may be imported: all that is sealed names its task and place. What cannot be opened is masked."""
    if not _is_call(snapshot):
        return shown(snapshot)
    rule, task, *call = _call(snapshot)
    try:
        plain = rows.open_call(rule, task, *call).plain
    except Unopenable:
        return shown(snapshot)
    return _with_call(snapshot, rows.seal_call(rule, task, *plain, former=(call[0], call[1]), keep=(VERSION,)))


def opened(snapshot: Snapshot) -> Concealed:
    """What is to be executed, and how it is shown. Raises Unopenable."""
    return rows.open_call(*_call(snapshot))


def _sealed(snapshot: Snapshot) -> tuple[Any, Any]:
    rule, task, args, kwargs = _call(snapshot)
    plain = (args, kwargs)
    # What cannot be opened is text like any other, and cannot be used either way.
    with suppress(Unopenable):
        plain = rows.open_call(rule, task, args, kwargs).plain
    return rows.seal_call(rule, task, *plain, former=(args, kwargs))


def _call(snapshot: Snapshot) -> tuple[Any, str, Any, Any]:
    task = str(snapshot.get("task") or "")
    return rule_for(task), task, snapshot.get("args"), snapshot.get("kwargs")


def _is_call(snapshot: Snapshot) -> bool:
    return isinstance(snapshot.get("args"), list) and isinstance(snapshot.get("kwargs"), dict)


def _with_call(snapshot: Snapshot, call: tuple[Any, Any]) -> dict[str, Any]:
    return {**snapshot, "args": call[0], "kwargs": call[1]}
