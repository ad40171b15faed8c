"""The engine that every process uses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from celery.exceptions import SoftTimeLimitExceeded
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from tests.reuse import Reused
from webapp.database.engine import array_literal, create_engine, first_row, read_only
from webapp.database.postgresql import Connection


def test_errors_keep_the_values_of_a_statement_to_themselves(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(sa.exc.DBAPIError) as caught, engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:argument)"), {"argument": "canary"})
    engine.dispose()
    assert "INSERT INTO nowhere" in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_request_leaves_writing_to_whatever_comes_next_in_its_thread(app: Flask) -> None:
    """Left as a reader it would meet SQLite's lock without waiting in line."""
    for method in ("GET", "POST"):
        assert app.test_client().open("/login", method=method).status_code in (200, 400)
        assert read_only.get() is False


def test_a_connection_whose_statement_was_interrupted_is_not_used_again(
    reused: Callable[[], Reused], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise SoftTimeLimitExceeded

    def driver() -> Any:
        with closing(engine.raw_connection()) as connection:
            return connection.driver_connection

    engine = create_engine(reused().url)
    before = driver()
    assert first_row(engine, "SELECT 2", {}) == (2,)
    assert driver() is before
    # It has just answered, so it is not pinged before the statement.
    monkeypatch.setattr(Connection, "execute", interrupt)
    with pytest.raises(SoftTimeLimitExceeded):
        first_row(engine, "SELECT 2", {})
    monkeypatch.undo()
    # A connection without references returns to the pool by itself.
    gc.collect()
    assert driver() is not before
    engine.dispose()


# PostgreSQL's text holds everything but NUL and lone surrogates.
TEXTS = st.lists(st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=8)


def test_postgresql_reads_from_an_array_what_was_put_into_it(reused: Callable[[], Reused]) -> None:
    engine = create_engine(reused().url)
    with engine.connect() as connection:
        read = sa.text("SELECT CAST(:given AS text[])")

        @given(TEXTS)
        def same(values: list[str | None]) -> None:
            assert connection.execute(read, {"given": array_literal(values)}).scalar() == values

        same()
        for awkward in (
            "\\n",
            "\n",
            "\\\\n",
            "\\\n\\u0001",
            "\x01\x1f\x7f",
            '"',
            "NULL",
            "null",
            "",
            "{a,b}",
            "é\u2028",
        ):
            assert connection.execute(read, {"given": array_literal([awkward])}).scalar() == [awkward]
        moment = datetime(2026, 11, 22, 8, 0, 0, 123456, tzinfo=UTC)
        moments = sa.text("SELECT CAST(:given AS timestamptz[])")
        assert connection.execute(moments, {"given": array_literal([moment, None])}).scalar() == [moment, None]
        assert connection.execute(sa.text("SELECT CAST(:given AS int[])"), {"given": array_literal([])}).scalar() == []
    engine.dispose()
