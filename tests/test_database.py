"""The engine that every process uses."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.reuse import Reused
from webapp.database import array_literal, create_engine


def test_errors_keep_the_values_of_a_statement_to_themselves(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(sa.exc.DBAPIError) as caught, engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:argument)"), {"argument": "canary"})
    engine.dispose()
    assert "INSERT INTO nowhere" in str(caught.value)
    assert "canary" not in str(caught.value)


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
