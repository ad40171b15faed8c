"""The pace of the recorder, in small."""

from __future__ import annotations

from bench.pace import Pace
from bench.recording import BENCH


def test_the_pace_on_each_database_stands_beside_its_bar() -> None:
    paces = {"postgresql": Pace(40_000, 4_999.0, 28.4, 12.0), "sqlite": Pace(40_000, 6_400.4, 46.0, 0.0)}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in BENCH.report(paces).splitlines()]
    assert rows[2:] == [
        ["postgresql", "40,000", "4,999", "28", "12", "5,000", "NO"],
        ["sqlite", "40,000", "6,400", "46", "0", "2,000", "yes"],
    ]


def test_all_state_changes_are_counted() -> None:
    paces = BENCH.paces(50, BENCH.bars)
    assert [pace.count for pace in paces.values()] == [100, 100]
    assert all(pace.a_second > 0 and pace.own > 0 for pace in paces.values())
