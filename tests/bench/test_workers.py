"""The table of what a task costs."""

from __future__ import annotations

from bench.workers.kinds import KINDS, Cost
from bench.workers.run import report


def test_ours_is_compared_with_the_same_settings_the_others_with_celery_and_the_record_with_the_bar() -> None:
    costs = {kind.key: [Cost(1.0 + number / 10, 2.0 + number)] * 3 for number, kind in enumerate(KINDS)}
    costs["ours_told"] = [Cost(1.35, 2.0)] * 3
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report(costs).splitlines()]
    lines = {first: rest for first, *rest in rows}
    assert lines["celery, nothing else"] == ["1.00", "", "", "2.00", "", "", ""]
    assert lines["celery, with our settings"] == ["1.10", "+0.10", "×1.10", "3.00", "+1.00", "", ""]
    assert lines["celery, observed"] == ["1.30", "+0.30", "×1.30", "5.00", "+3.00", "", ""]
    assert lines["ours, the record alone"] == ["1.35", "+0.25", "×1.23", "2.00", "-1.00", "0.3", "yes"]
    assert lines["ours, SQLite"][1] == "+0.70"
    costs["ours_told"] = [Cost(1.5, 2.0)] * 3
    assert "NO" in report(costs)


def test_rounds_of_a_slow_moment_are_compared_with_each_other() -> None:
    speeds, added = (1.0, 3.0, 1.0, 3.0, 3.0), (0.2, 9.0, 0.2, 0.2, 0.2)
    costs = {kind.key: [Cost(speed, speed) for speed in speeds] for kind in KINDS}
    costs["ours_told"] = [Cost(speed + more, speed) for speed, more in zip(speeds, added, strict=True)]
    line = next(line for line in report(costs).splitlines() if "the record alone" in line)
    assert [cell.strip() for cell in line.split("|")[2:4]] == ["3.20", "+0.20"]
