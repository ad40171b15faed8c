"""Checks and limits of beat's database connections."""

from __future__ import annotations

from collections.abc import Callable

from tests.reuse import Reused
from webapp.database.reads import reading
from webapp.scheduler.connections import open_engine

ASK = "SHOW idle_in_transaction_session_timeout"


def test_a_slow_load_is_not_taken_for_a_leader_that_was_stopped(reused: Callable[[], Reused]) -> None:
    engine = open_engine(reused().url)
    with reading(engine, streaming=True) as connection:
        loading = connection.exec_driver_sql(ASK).scalar()
    with engine.begin() as connection:
        firing = connection.exec_driver_sql(ASK).scalar()
    engine.dispose()
    assert (loading, firing) == ("1min", "1500ms")
