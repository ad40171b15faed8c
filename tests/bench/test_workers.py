"""The table of what a task costs."""

from __future__ import annotations

from bench.workers.kinds import KINDS, Cost
from bench.workers.run import report


def test_each_kind_is_compared_with_the_same_settings_and_the_record_with_the_bar() -> None:
    costs = {kind.key: Cost(1.0 + number / 10, 2.0 + number) for number, kind in enumerate(KINDS)}
    costs["ours_told"] = Cost(1.35, 2.0)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report(costs).splitlines()]
    lines = {first: rest for first, *rest in rows}
    assert lines["celery, nothing else"] == ["1.00", "-0.10", "2.00", "-1.00", "", ""]
    assert lines["celery, with our settings"] == ["1.10", "", "3.00", "", "", ""]
    assert lines["ours, the record alone"] == ["1.35", "+0.25", "2.00", "-1.00", "0.3", "yes"]
    assert lines["ours, SQLite"][1] == "+0.50"
    costs["ours_told"] = Cost(1.5, 2.0)
    assert "NO" in report(costs)
