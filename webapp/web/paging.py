"""Keyset paging of a plain list, newest first: as fast on the last page as on the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import request, url_for

from webapp.extensions import db
from webapp.web.parameters import id_in_query

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows, and the ids at which the newer and the older page begin; None where there is no such page."""

    rows: Sequence[Any]
    newer: int | None
    older: int | None

    def addresses(self, filters: Mapping[str, Any]) -> list[str | None]:
        """The URLs of the newer and the older page, with the same filters; None where there is no such page."""
        given: dict[str, Any] = {name: value for name, value in filters.items() if value}
        edges = {"after": self.newer, "before": self.older}
        here = str(request.endpoint)
        return [url_for(here, **given | {name: edge}) if edge else None for name, edge in edges.items()]


def requested_page(query: sa.Select[Any], key: Any) -> Page:
    """The rows whose id (`key`) is below the query string's `before` or just above its `after`, else the newest."""
    before, after = id_in_query("before"), id_in_query("after")
    if after is not None:
        found = list(db.session.scalars(query.where(key > after).order_by(key.asc()).limit(PAGE_SIZE + 1)))
        rows, more_newer, more_older = found[:PAGE_SIZE][::-1], len(found) > PAGE_SIZE, True
    else:
        if before is not None:
            query = query.where(key < before)
        found = list(db.session.scalars(query.order_by(key.desc()).limit(PAGE_SIZE + 1)))
        rows, more_newer, more_older = found[:PAGE_SIZE], before is not None, len(found) > PAGE_SIZE
    ids = [int(getattr(row, key.key)) for row in rows]
    return Page(rows, ids[0] if ids and more_newer else None, ids[-1] if ids and more_older else None)
