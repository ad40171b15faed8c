"""The list of schedules: a page of it, in some order, with the last run of each. As quick with 100,000 as with 100."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from webapp.database.text_search import mentions_folded
from webapp.extensions import db
from webapp.run_store import sending
from webapp.run_store.skipping import skipped_ahead
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.models import Owner
from webapp.schedule_store.pause_rows import tagged, unsettled
from webapp.schedule_store.pauses import Pause, read_tags
from webapp.schedule_store.rows import DETAILS, DISCRIMINATORS, TASKS, WORDS
from webapp.schedule_store.status import DUE, Status, has_status, status_of
from webapp.schedule_store.stored import Stored, find_many
from webapp.schedules.holds import Hold, hold_at, next_firing
from webapp.schedules.list.cached_counts import cached
from webapp.schedules.list.ordering import Order, edge_text, find, matches, parse_edge, segments
from webapp.schedules.list.recent_runs import LastRun, recent_runs, recent_states
from webapp.schedules.list.trigrams import may_mention
from webapp.task_catalogue.registry import known_tasks

PAGE = 40
NAMES = Order()
# Of tags, so many can be chosen.
MOST_TAGS = 200
_TAG_COUNTS = sa.select(DETAILS.c.tags, sa.func.count()).where(DETAILS.c.tags != "[]").group_by(DETAILS.c.tags)


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the list; an empty text filters nothing."""

    q: str = ""
    status: str = ""
    kind: str = ""
    task: str = ""
    tag: str = ""
    owner: str = ""
    queue: str = ""

    def given(self) -> dict[str, str]:
        """Those that are set, for addresses."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list.

    `next_due_at` is the next due time that fires; `hold` the pause of everything or of tags, or its own, that is on.
    """

    schedule: Stored
    last_run: LastRun | None
    states: Sequence[str]
    next_due_at: datetime | None
    hold: Hold | None = None

    @property
    def status(self) -> Status:
        """How it stands."""
        return status_of(self.schedule, held=self.hold is not None)

    @property
    def next_fires_at(self) -> datetime | None:
        """When the run of that due time is created: its jitter later."""
        return None if self.next_due_at is None else self.schedule.fires_at(self.next_due_at)


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """One page, and the edges from which its neighbours go on, as text; None where there is none."""

    rows: Sequence[Listed]
    before: str | None
    after: str | None


def page(  # what to look for, when, with which pauses
    filters: Filters,
    now: datetime,
    pauses: Sequence[Pause] = (),
    *,
    order: Order = NAMES,
    before: str = "",
    after: str = "",
    size: int = PAGE,
) -> SchedulePage:
    """The first page, or the one after or before an edge. Raises Invalid for an edge that no page has named."""
    chain = segments(order, now, pauses)
    edge = parse_edge(order, before or after, chain)
    hints = may_mention(filters.q)
    found = find(chain, conditions(filters, now, pauses), edge, size, back=bool(before), hints=hints)
    if not found.ids:
        return SchedulePage([], None, None)
    schedules = {schedule.id: schedule for schedule in find_many(db.session, found.ids)}
    # One that was deleted in between is left out.
    rows = with_runs([schedules[number] for number in found.ids if number in schedules], now, pauses)
    return SchedulePage(rows, edge_text(order, found.before), edge_text(order, found.after))


def matching_ids(filters: Filters, now: datetime, most: int) -> list[int]:
    """The numbers of all that match, at most so many, in the order of names."""
    pauses = unsettled(db.session) if filters.status in DUE else []
    hints = may_mention(filters.q)
    return find(segments(NAMES, now), conditions(filters, now, pauses), None, most, hints=hints).ids


def all_matching(filters: Filters, now: datetime) -> frozenset[int]:
    """The numbers of all that match, in no order."""
    return frozenset(db.session.scalars(select_matching(filters, now)))


def select_matching(filters: Filters, now: datetime) -> sa.Select[tuple[int]]:
    """The statement for that, to be part of another one."""
    pauses = unsettled(db.session) if filters.status in DUE else []
    return matches([*conditions(filters, now, pauses), *may_mention(filters.q)])


def conditions(filters: Filters, now: datetime, pauses: Sequence[Pause]) -> list[sa.ColumnElement[bool]]:
    """What rows must be to be listed."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.q:
        found.append(mentions_folded(WORDS.c.words, filters.q))
    if filters.kind in DISCRIMINATORS:
        found.append(TASKS.c.discriminator == DISCRIMINATORS[Kind(filters.kind)])
    if filters.task:
        found.append(TASKS.c.task == filters.task)
    if filters.tag:
        found.append(tagged([filters.tag]))
    if filters.owner in tuple(Owner):
        found.append(DETAILS.c.owner == filters.owner)
    if filters.queue:
        found.append(_goes_to(filters.queue))
    if filters.status in tuple(Status):
        found += has_status(Status(filters.status), now, pauses)
    return found


def _goes_to(queue: str) -> sa.ColumnElement[bool]:
    """Whether a schedule's messages go to a queue: it names the queue, or its task goes there by itself.

    Where it names an exchange and a routing key those decide, and only the broker knows to which queue they lead.
    """
    tasks = [name for name in known_tasks() if sending.destination_of(name, None).queue == queue]
    by_itself = sa.and_(sa.func.coalesce(TASKS.c.queue, "") == "", TASKS.c.task.in_(tasks))
    exchanged = sa.and_(*(sa.func.coalesce(TASKS.c[name], "") != "" for name in ("exchange", "routing_key")))
    return sa.and_(sa.or_(TASKS.c.queue == queue, by_itself), sa.not_(exchanged))


def any_schedule() -> bool:
    """Whether there is one at all."""
    return db.session.execute(sa.select(TASKS.c.id).limit(1)).first() is not None


def tags_in_use() -> list[tuple[str, int]]:
    """The tags that most schedules have, by name, each with how many. With many schedules some seconds old."""
    return cached("tags", _tags_in_use)


def _tags_in_use() -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for text, count in db.session.execute(_TAG_COUNTS):
        counts.update(dict.fromkeys(read_tags(text), count))
    return sorted(counts.most_common(MOST_TAGS), key=lambda one: one[0].casefold())


def with_runs(schedules: Sequence[Stored], now: datetime, pauses: Sequence[Pause] = ()) -> list[Listed]:
    """Each schedule with its last run and its next due time."""
    if not schedules:
        return []
    ids = [schedule.id for schedule in schedules]
    runs, states, skipped = recent_runs(ids, now, 1), recent_states(ids, now), skipped_ahead(ids, now)
    return [
        Listed(
            schedule,
            next(iter(runs.get(schedule.id, [])), None),
            states.get(schedule.id, []),
            next_firing(schedule, now, pauses, skipped.get(schedule.id, set())),
            hold_at(schedule, now, pauses),
        )
        for schedule in schedules
    ]
