"""Narrows a text search of schedules down by an index of trigrams.

The migration 0014 creates it: a function and a GIN index in PostgreSQL, an FTS5 table in SQLite.
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
# PostgreSQL reads the row list of each trigram in a query. A few rare ones narrow the search as much as all of them.
MAX_TRIGRAMS = 4
# A trigram is rare if it is in a smaller share of all rows.
RARE_SHARE = 0.15
# For how long shares are cached; the database itself updates them only now and then.
SHARES_SECONDS = 300.0
# The key of the shares in the application's extensions.
SHARES = "gram_shares"


def may_mention(text: str) -> list[sa.ColumnElement[bool]]:
    """Conditions that all rows with the text satisfy, and few others; none for a text that is too short."""
    if len(text) < LENGTH or "\0" in text:
        return []
    if is_sqlite(db.engine):
        phrase = '"' + text.replace('"', '""') + '"'
        # A join, so that a query with a limit can stop early; for an IN, SQLite would first collect all matches.
        return [WORDS.c.schedule_id == _GRAMS.c.rowid, _GRAMS.c.schedule_grams.op("MATCH", is_comparison=True)(phrase)]
    rare = rare_trigrams(text, _shares())
    if not rare:
        return []
    # Lower-cased like the words, by the database's own lower().
    parts: Any = array([sa.func.lower(part) for part in rare], type_=sa.Text)
    return [sa.func.beatdesk_grams(WORDS.c.words, type_=_TEXTS).contains(parts)]


def rare_trigrams(text: str, shares: Mapping[str, float]) -> list[str]:
    """The rarest trigrams of a text, by the shares of rows that contain each; one that is not in `shares` is rare.

    Empty if all are common: then reading row by row finds enough matches soon. Trigrams whose lower case depends on
    neighbouring letters, or is longer, are left out, as they do not occur in the words.
    """
    parts = dict.fromkeys(text[place : place + LENGTH] for place in range(len(text) - LENGTH + 1))
    share = {part: shares.get(part.lower(), 0.0) for part in parts if part.isascii() or part == part.lower()}
    return sorted((part for part in share if share[part] < RARE_SHARE), key=share.__getitem__)[:MAX_TRIGRAMS]


def _shares() -> dict[str, float]:
    """The share of rows that contain each common trigram, from PostgreSQL's statistics; empty while it has none."""
    cached: tuple[float, dict[str, float]] = current_app.extensions.get(SHARES, (0.0, {}))
    until, shares = cached
    if time.monotonic() > until:
        row = db.session.execute(_STATISTICS).first()
        shares = dict(zip(*row, strict=False)) if row else {}
        current_app.extensions[SHARES] = (time.monotonic() + SHARES_SECONDS, shares)
    return shares


_STATISTICS = sa.text(
    "SELECT most_common_elems::text::text[], most_common_elem_freqs FROM pg_stats "
    "WHERE schemaname = current_schema() AND tablename = 'ix_schedule_words_grams' AND most_common_elems IS NOT NULL"
)
_TEXTS: ARRAY[str] = ARRAY(sa.Text)
_GRAMS = sa.table("schedule_grams", sa.column("rowid"), sa.column("schedule_grams"))
