"""Who may have a text among the words of a schedule, by an index of all their parts of three letters.

The migration 0014 makes it: a function and a GIN index in PostgreSQL, an FTS5 table in SQLite.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.dialects.postgresql import ARRAY, array

from webapp.database.dialects import is_sqlite
from webapp.extensions import db
from webapp.schedule_store.rows import WORDS

LENGTH = 3
# PostgreSQL goes through the list of each part that it is asked for, and a few rare ones say as much as all of them.
# Rare is what a smaller share of all rows has.
ASKED = 4
RARE = 0.15
# Seconds for which the shares are kept; the database itself learns them only now and then.
KEPT = 300.0
# Among an application's extensions.
SHARES = "gram_shares"


def may_mention(text: str) -> list[sa.ColumnElement[bool]]:
    """What all rows of the words meet that have the text, and few others; nothing for a text that is too short."""
    if len(text) < LENGTH or "\0" in text:
        return []
    if is_sqlite(db.engine):
        phrase = '"' + text.replace('"', '""') + '"'
        # Joined, so that a query with a limit ends when it has enough; of an IN SQLite first writes down all.
        return [WORDS.c.schedule_id == _GRAMS.c.rowid, _GRAMS.c.schedule_grams.op("MATCH", is_comparison=True)(phrase)]
    asked = rare_parts(text, _shares())
    if not asked:
        return []
    # Folded as the words are, by the database's own lower().
    parts: Any = array([sa.func.lower(part) for part in asked], type_=sa.Text)
    return [sa.func.beatdesk_grams(WORDS.c.words, type_=_TEXTS).contains(parts)]


def rare_parts(text: str, shares: Mapping[str, float]) -> list[str]:
    """The rare parts of a text, by the shares of rows that have each; one that is not in `shares` is rare.

    None where all are common: then so may the text be, and whoever reads row by row has enough soon. And not those
    whose lower case depends on the letters around them, or is longer: they are no parts of the words.
    """
    parts = dict.fromkeys(text[place : place + LENGTH] for place in range(len(text) - LENGTH + 1))
    share = {part: shares.get(part.lower(), 0.0) for part in parts if part.isascii() or part == part.lower()}
    return sorted((part for part in share if share[part] < RARE), key=share.__getitem__)[:ASKED]


def _shares() -> dict[str, float]:
    """Of how many of all rows each common part is, as PostgreSQL last counted; empty while it has not."""
    kept: tuple[float, dict[str, float]] = current_app.extensions.get(SHARES, (0.0, {}))
    until, shares = kept
    if time.monotonic() > until:
        row = db.session.execute(_STATISTICS).first()
        shares = dict(zip(*row, strict=False)) if row else {}
        current_app.extensions[SHARES] = (time.monotonic() + KEPT, shares)
    return shares


_STATISTICS = sa.text(
    "SELECT most_common_elems::text::text[], most_common_elem_freqs FROM pg_stats "
    "WHERE schemaname = current_schema() AND tablename = 'ix_schedule_words_grams' AND most_common_elems IS NOT NULL"
)
_TEXTS: ARRAY[str] = ARRAY(sa.Text)
_GRAMS = sa.table("schedule_grams", sa.column("rowid"), sa.column("schedule_grams"))
