"""Pages of a long list, newest first, by the id at their edge: as quick on the last page as on the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

Row = TypeVar("Row")

# Ids are 32-bit integers in PostgreSQL; a larger number in an address is nobody's.
LARGEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows, and the ids from which the neighbouring pages go on; None where there is no such page."""

    rows: Sequence[Row]
    newer: int | None
    older: int | None


def page_by_id(
    session: Session | scoped_session[Any],
    query: sa.Select[Any],
    key: Any,
    *,
    before: int | None = None,
    after: int | None = None,
    size: int = 50,
) -> Page[Row]:
    """The rows with a key below `before`, or just above `after`, or the newest ones; `key` is the id's column."""
    if after is not None:
        found = list(session.scalars(query.where(key > after).order_by(key.asc()).limit(size + 1)))
        rows, more_newer, more_older = found[:size][::-1], len(found) > size, True
    else:
        if before is not None:
            query = query.where(key < before)
        found = list(session.scalars(query.order_by(key.desc()).limit(size + 1)))
        rows, more_newer, more_older = found[:size], before is not None, len(found) > size
    if not rows:
        return Page([], None, None)
    return Page(rows, _id(rows[0], key) if more_newer else None, _id(rows[-1], key) if more_older else None)


def _id(row: Any, key: Any) -> int:
    return int(getattr(row, key.key))
