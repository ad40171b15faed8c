"""The table of `make bench`: which value is best, how ours compares, whether the bar is reached."""

from __future__ import annotations

import pytest

from bench.beats import measures, table
from bench.beats.measures import Measure, Value
from bench.beats.targets import OURS, OURS_SQLITE, PEERS

SPEED = Measure("speed", "burst", "msg/s", "higher", bar=1000.0, sqlite_bar=500.0)
LATE = Measure("late", "lateness", "ms", bar=20.0)


@pytest.mark.parametrize(
    ("measure", "ours", "other", "expected"),
    [
        (SPEED, 3000.0, 1500.0, "×2.00"),
        (SPEED, 500.0, 1000.0, "×0.50"),
        (SPEED, 37_000.0, 1000.0, "×37.0"),
        (SPEED, 3.0, 1000.0, "×0.003"),
        (LATE, 5.0, 20.0, "×4.00"),
        (LATE, 20.0, 5.0, "×0.25"),
        (LATE, 0.0, 0.0, "equal"),
        (LATE, 0.0, 10.0, "better"),
        (LATE, 3.0, 0.0, "worse"),
        (LATE, 3.0, -2.0, "worse"),
    ],
)
def test_ratio_is_how_many_times_better_ours_is(measure: Measure, ours: float, other: float, expected: str) -> None:
    assert table.ratio(measure, Value(ours), other) == expected


@pytest.mark.parametrize("ours", [None, Value(None, "never keeps up")])
def test_there_is_no_ratio_of_what_was_not_measured(ours: Value | None) -> None:
    assert table.ratio(LATE, ours, 5.0) == ""
    assert table.ratio(LATE, Value(5.0), None) == ""


def test_the_best_peer_is_the_fastest_or_the_least_late_and_never_one_without_a_number() -> None:
    values = [Value(30.0), None, Value(None, "never keeps up"), Value(7.0)]
    assert table.best(SPEED, values) == 30.0
    assert table.best(LATE, values) == 7.0
    assert table.best(LATE, [None, Value(None, "none leads")]) is None


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0.0, "", "0"),
        (0.25, "ms", "0.25 ms"),
        (0.0042, "ms", "0.004 ms"),
        (28.34, "s", "28.3 s"),
        (612.0, "MB", "612 MB"),
        (9_870.4, "msg/s", "9,870 msg/s"),
        (20_000.0, "ms", "20 s"),
        (-9.5, "ms", "-9.50 ms"),
    ],
)
def test_numbers_are_shown_with_three_digits_and_their_unit(value: float, unit: str, expected: str) -> None:
    assert table.number(value, unit) == expected


@pytest.mark.parametrize(
    ("ours", "sqlite", "expected"),
    [
        (Value(1000.0), Value(500.0), "yes"),
        (Value(999.0), Value(499.0), "NO"),
        (Value(2000.0), Value(499.0), "yes, SQLite NO"),
        (Value(None, "never keeps up"), Value(500.0), "NO, SQLite yes"),
        (Value(1000.0), None, "yes"),
        (None, None, ""),
    ],
)
def test_the_verdict_is_of_both_databases(ours: Value | None, sqlite: Value | None, expected: str) -> None:
    assert table.verdict(SPEED, ours, sqlite) == expected


def test_a_line_shows_ours_each_peer_the_ratio_the_bar_and_the_verdict() -> None:
    celery, sacb = PEERS[:2]
    results = {
        OURS.key: {"speed": Value(3000.0)},
        OURS_SQLITE.key: {"speed": Value(600.0)},
        celery.key: {"speed": Value(30.0)},
        sacb.key: {"speed": Value(None, "beat has ended: " + "x" * 60)},
    }
    heading, line = table.rows([SPEED, LATE], [OURS, OURS_SQLITE, celery, sacb], results)
    assert heading == ["measure", OURS.title, OURS_SQLITE.title, "celery", "sacb", "to best peer", "bar", "reached"]
    assert line == [
        "burst", "3,000 msg/s", "600 msg/s", "30 msg/s", ("beat has ended: " + "x" * 60)[: table.WIDEST_NOTE],
        "×100.0", "1,000 msg/s (500)", "yes",
    ]  # fmt: skip


def test_the_text_is_a_markdown_table_with_columns_of_one_width() -> None:
    text = table.text([["measure", "ours"], ["burst", "3,000 msg/s"]])
    assert text.splitlines() == [
        "| measure |        ours |",
        "|---------|------------:|",
        "| burst   | 3,000 msg/s |",
    ]


def test_the_bars_are_those_that_were_promised() -> None:
    bars = {
        measure.key: (measure.bar, measure.sqlite_bar)
        for measure in (
            measures.burst(10_000), *measures.steady(500), *measures.steady(100), *measures.process(100_000),
            *measures.effect(100_000), *measures.FAULTS,
        )
        if measure.bar is not None
    }  # fmt: skip
    assert bars == {
        "burst-10000": (10_000.0, 5_000.0),
        "steady-500-p99": (50.0, None),
        "steady-100-p99": (20.0, None),
        "start-100000": (3.0, None),
        "idle-100000": (1.0, None),
        "memory-100000": (200.0, None),
        "edit-cpu-100000": (5.0, None),
        "effect-100000-median": (100.0, 100.0),
        "effect-100000-max": (1000.0, 1000.0),
        "two-beats-twice": (0.0, 0.0),
        "two-beats-lost": (0.0, 0.0),
        "failover": (5.0, 5.0),
        "kill-twice": (0.0, 0.0),
        "kill-lost": (0.0, 0.0),
        "outage-lost": (0.0, 0.0),
        "outage-twice": (0.0, 0.0),
    }
