"""A search as SQL: the condition that one index answers, and those that are checked row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.database.dialects import seconds_between
from webapp.database.text_search import contains, mentions
from webapp.extensions import db
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.list.search import Search

Columns = Any
Condition = Callable[[Columns], sa.ColumnElement[bool]]

ID_LENGTH = 36
# A prefix of an id that matches more runs than this is too short to be useful.
MAX_ID_MATCHES = 200
# The columns in which words are searched for.
SEARCHED_COLUMNS = ("task", "args", "kwargs", "error", "reason", "schedule_name", "worker")


@dataclass(frozen=True, slots=True)
class Plan:
    """`leading` conditions are answered by one index in the order of a page; `rest` are checked row by row."""

    leading: tuple[sa.ColumnElement[bool], ...]
    rest: tuple[Condition, ...]


def plan(search: Search, now: datetime) -> Plan:
    """Choose the index. The most selective condition leads: an id, a schedule, a state, a task; the rest is checked.

    Only one of them can lead, because a page is read along its index without sorting. Most runs have succeeded, so for
    that state a task is more selective.
    """
    leading: list[sa.ColumnElement[bool]] = []
    rest: list[Condition] = []
    if search.since is not None:
        leading.append(Run.created_at > now - search.since)
    state, task = _states(search), _tasks(search)
    if search.states == (RunState.SUCCEEDED,) and task is not None:
        state, task = task, state
    options = [_ids(search), _roots(search), _schedules(search), state, task]
    led = False
    for option in options:
        if option is None:
            continue
        lead, check = option
        if lead is not None and not led:
            leading.append(lead)
            led = True
        else:
            rest.append(check)
    rest.extend(_others(search, now))
    return Plan(tuple(leading), tuple(rest))


# The condition that an index answers, None if there is none, and the same condition for any columns.
_Option = tuple[sa.ColumnElement[bool] | None, Condition] | None


def _ids(search: Search) -> _Option:
    if not search.ids:
        return None
    found: list[str] = []
    for wanted in search.ids:
        if len(wanted) == ID_LENGTH:
            found.append(wanted)
        else:
            # A range besides LIKE, which needs a special index where texts are sorted by language.
            beginning = sa.select(Run.id).where(Run.id >= wanted, Run.id < f"{wanted}g", Run.id.like(f"{wanted}%"))
            found.extend(db.session.scalars(beginning.limit(MAX_ID_MATCHES)))
    return Run.id.in_(found), lambda columns: columns.id.in_(found)


def _roots(search: Search) -> _Option:
    """The runs that a run led to, by calls, chains, groups and chords."""
    if not search.roots:
        return None
    lead = Run.root_id == search.roots[0] if len(search.roots) == 1 else None
    return lead, lambda columns: columns.root_id.in_(search.roots)


def _schedules(search: Search) -> _Option:
    if not search.schedules:
        return None
    numbers = {int(text.lstrip("#")) for text in search.schedules if _is_number(text.lstrip("#"))}
    names = [text for text in search.schedules if not _is_number(text.lstrip("#"))]
    query = sa.select(PeriodicTask.name, PeriodicTask.id).where(PeriodicTask.name.in_(names))
    known = {row.name: row.id for row in db.session.execute(query)} if names else {}
    numbers |= set(known.values())
    gone = [name for name in names if name not in known]
    if gone:
        # A deleted schedule is known only by the name that its runs keep.
        return None, lambda columns: sa.or_(columns.schedule_id.in_(numbers), columns.schedule_name.in_(gone))
    lead = Run.schedule_id == next(iter(numbers)) if len(numbers) == 1 else None
    return lead, lambda columns: columns.schedule_id.in_(numbers)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:12]) < 2**31


def _states(search: Search) -> _Option:
    if not search.states:
        return None
    values = [state.value for state in search.states]
    return (Run.state == values[0] if len(values) == 1 else None), lambda columns: columns.state.in_(values)


def _tasks(search: Search) -> _Option:
    if not search.tasks:
        return None
    exact = [name for name in search.tasks if not name.endswith("*")]
    beginnings = [name[:-1] for name in search.tasks if name.endswith("*")]
    lead = Run.task == exact[0] if len(exact) == 1 and not beginnings else None

    def check(columns: Columns) -> sa.ColumnElement[bool]:
        return sa.or_(columns.task.in_(exact), *(columns.task.startswith(text, autoescape=True) for text in beginnings))

    return lead, check


def _others(search: Search, now: datetime) -> list[Condition]:
    conditions: list[Condition] = []
    if search.workers:
        conditions.append(lambda columns: sa.or_(*(mentions(columns.worker, text) for text in search.workers)))
    if search.queues:
        conditions.append(lambda columns: _queue(columns, search.queues))
    conditions.extend(_runtime(operator, seconds, now) for operator, seconds in search.runtime)
    conditions.extend(_word(word) for word in search.words)
    conditions.extend(_argument_text(name, value) for name, value in search.arguments)
    return conditions


def _queue(columns: Columns, names: tuple[str, ...]) -> sa.ColumnElement[bool]:
    named: sa.ColumnElement[bool] = columns.queue.in_(names)
    # A run without a queue goes to the default one.
    return sa.or_(named, columns.queue.is_(None)) if DEFAULT_QUEUE in names else named


def _runtime(operator: str, seconds: float, now: datetime) -> Condition:
    def check(columns: Columns) -> sa.ColumnElement[bool]:
        end = sa.func.coalesce(columns.ended_at, sa.bindparam(None, now, Run.ended_at.type))
        taken = seconds_between(columns.started_at, end)
        compared = {">": taken > seconds, ">=": taken >= seconds, "<": taken < seconds, "<=": taken <= seconds}
        return sa.and_(columns.started_at.is_not(None), compared[operator])

    return check


def _word(word: str) -> Condition:
    # Arguments are kept as JSON, which escapes all letters beyond ASCII.
    spelled = json.dumps(word)[1:-1]

    def check(columns: Columns) -> sa.ColumnElement[bool]:
        return sa.or_(
            *(mentions(columns[name], spelled if name in ("args", "kwargs") else word) for name in SEARCHED_COLUMNS),
            columns.id == word.lower(),
        )

    return check


def _argument_text(name: str, value: str) -> Condition:
    """A coarse filter in the database; `matching` then parses the JSON. Named arguments look like `"name": value`."""
    spelled = json.dumps(value)[1:-1]
    named = [spelled] if "." in name else [f'"{name}": {spelled}', f'"{name}": "{spelled}']
    return lambda columns: sa.or_(
        contains(columns.args, spelled),
        *(contains(columns.kwargs, text) for text in named),
    )
