from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedule_store.rows import CRONTABS, DETAILS, PROGRESS, TASKS, WORDS
from webapp.schedule_store.stored import Stored
from webapp.schedules.list import listing, ordering
from webapp.schedules.list.listing import Filters
from webapp.schedules.list.ordering import ORDERS, Order
from webapp.web.errors import Invalid

pytestmark = pytest.mark.each_database

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COUNT = 40
STATUS = {"broken": 0, "paused": 1, "disabled": 2, "enabled": 3}


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few rows take every way there is: the windows, what is rare, and the walk."""
    monkeypatch.setattr(ordering, "WINDOW", 6)
    monkeypatch.setattr(ordering, "WIDER", 9)
    monkeypatch.setattr(ordering, "SOME", 2)
    monkeypatch.setattr(ordering, "RARE", 4)


@pytest.fixture(autouse=True)
def made(context: Flask) -> None:
    rule = db.session.execute(sa.insert(CRONTABS).values(minute="5")).inserted_primary_key[0]  # type: ignore[attr-defined]
    rows: list[dict[str, Any]] = [
        {
            "id": number, "name": f"s{number * 7 % COUNT:02}", "task": f"t{number % 3}", "enabled": number % 5 != 0,
            "discriminator": "crontabschedule", "schedule_id": rule, "description": "Rare words" * (number == 33),
        }
        for number in range(1, COUNT + 1)
    ]  # fmt: skip
    db.session.execute(sa.insert(TASKS), rows)
    for number in range(1, COUNT + 1):
        if number % 4 == 0:
            continue  # beat has not seen it yet
        moments = {
            "last_due_at": NOW - timedelta(hours=number % 6) if number % 3 else None,
            "next_due_at": NOW + timedelta(hours=number % 7) if number % 9 else None,
            "broken": "There is no such task" if number % 11 == 0 else None,
        }
        db.session.execute(sa.insert(PROGRESS).values(schedule_id=number, runs=0, **moments))
    db.session.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id % 8 == 3).values(paused_at=NOW))
    db.session.commit()


def walked(order: Order, filters: Filters = Filters(), size: int = 7) -> Iterator[Stored]:  # noqa: B008  # immutable
    """Everything, page after page; each page is found again from the one after it."""
    after, former = "", None
    while True:
        page = listing.page(filters, NOW, order=order, after=after, size=size)
        yield from (row.schedule for row in page.rows)
        if former is not None:
            back = listing.page(filters, NOW, order=order, before=page.before or "", size=size)
            assert [row.schedule.id for row in back.rows] == former
        former, after = [row.schedule.id for row in page.rows], page.after or ""
        if not after:
            return


def status(found: Stored) -> int:
    if found.row.broken:
        return STATUS["broken"]
    if not found.row.enabled:
        return STATUS["disabled"]
    return STATUS["paused" if found.paused else "enabled"]


def moment(found: Stored, by: str) -> datetime | None:
    time: datetime | None = found.row.next_due_at if by == "next" else found.row.last_due_at
    return time if by == "last" or (found.row.enabled and not found.paused) else None


def expected(order: Order, rows: list[Stored]) -> list[int]:
    """The same order, as Python makes it."""
    if order.by in ("next", "last"):
        there = sorted(
            (row for row in rows if moment(row, order.by)),
            key=lambda row: (moment(row, order.by), row.id),
            reverse=order.down,
        )
        gone = sorted((row for row in rows if not moment(row, order.by)), key=lambda row: row.name)
        return [row.id for row in [*there, *gone]]
    keys = {"name": lambda row: row.name, "task": lambda row: (row.row.task, row.name)}
    key = keys.get(order.by, lambda row: (status(row), row.name))
    return [row.id for row in sorted(rows, key=key, reverse=order.down)]


@pytest.mark.parametrize("by", ORDERS)
def test_every_page_of_every_order_both_ways(by: str) -> None:
    for order in (Order(by), Order(by, down=True)):
        everything = list(walked(order))
        assert len({row.id for row in everything}) == len(everything) == COUNT
        assert [row.id for row in everything] == expected(order, everything)


MATCHES = [
    (Filters(q="T1"), 14),
    (Filters(q="rare WORDS"), 1),
    (Filters(q="none has this"), 0),
    (Filters(status="disabled"), 8),
    (Filters(status="paused"), 3),
    (Filters(status="broken"), 3),
    (Filters(q="t2", status="disabled"), 3),
    (Filters(task="t1", kind="crontab"), 14),
]


@pytest.mark.parametrize("by", ["name", "next", "status"])
def test_what_matches_is_found_in_order(by: str) -> None:
    order = Order(by)
    for filters, count in MATCHES:
        found = list(walked(order, filters, 3))
        assert (filters, len(found)) == (filters, count)
        assert [row.id for row in found] == expected(order, found)


def test_what_is_searched_follows_every_edit() -> None:
    db.session.execute(sa.update(TASKS).where(TASKS.c.id == 1).values(description="Fresh Bread"))
    db.session.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == 2).values(tags='["bakery"]'))
    db.session.execute(sa.delete(TASKS).where(TASKS.c.id == 3))
    db.session.commit()
    assert [row.id for row in walked(Order(), Filters(q="fresh b"))] == [1]
    assert [row.id for row in walked(Order(), Filters(q="BAKERY"))] == [2]
    words = db.session.execute(sa.select(WORDS.c.schedule_id)).scalars().all()
    assert sorted(words) == [number for number in range(1, COUNT + 1) if number != 3]


JUNK = [
    "x",
    "[]",
    "[9,1]",
    '[0,"2026-01-01T00:00:00",1]',
    '[0,"x",1]',
    '[-1,"s"]',
    "[0,1,2]",
    '[1,"\\u0000"]',
    "[" * 999,
]


def test_an_edge_that_no_page_named_is_refused() -> None:
    for text in JUNK:
        with pytest.raises(Invalid):
            listing.page(Filters(), NOW, order=Order("next"), after=text)


def test_in_the_browser(scheduler: Visitor) -> None:
    db.session.remove()
    page = scheduler.get("/schedules?sort=task&direction=down&q=s").text
    shown = re.findall(r'class="sub font-monospace">(t\d)<', page)
    assert shown == sorted(shown, reverse=True)
    assert 'aria-sort="descending"' in page
    # The head of the order that is shown turns it round; the others begin upwards; the search is kept.
    assert 'href="/schedules?sort=task&amp;direction=up&amp;q=s"' in page
    assert 'href="/schedules?sort=next&amp;direction=up&amp;q=s"' in page
    assert scheduler.get("/schedules?sort=next&after=junk").status_code == 422
    assert scheduler.get("/schedules?sort=junk").status_code == 200
