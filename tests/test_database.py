"""The engine that every process uses."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from webapp.database import create_engine


def test_errors_keep_the_values_of_a_statement_to_themselves(database_url: str) -> None:
    engine = create_engine(database_url)
    with pytest.raises(sa.exc.DBAPIError) as caught, engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO nowhere VALUES (:argument)"), {"argument": "canary"})
    engine.dispose()
    assert "INSERT INTO nowhere" in str(caught.value)
    assert "canary" not in str(caught.value)
