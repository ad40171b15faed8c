"""Progress in the meta of a state that a task sets by hand, in the usual spellings."""

from __future__ import annotations

from decimal import Decimal

import pytest

from beatdesk.execution.progress_meta import progress_of_meta


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ({"current": 3, "total": 10}, (3, 10, "")),
        ({"current": 3, "total": 10, "status": "Cleaning"}, (3, 10, "Cleaning")),
        # celery-progress
        ({"pending": False, "current": 1, "total": 4, "percent": 25.0, "description": "row 1"}, (1, 4, "row 1")),
        ({"done": 1, "total": 4, "message": "one"}, (1, 4, "one")),
        ({"Done": 1, "Total": 4}, (1, 4, "")),
        ({"processed": "3", "total": " 10 "}, (3, 10, "")),
        ({"progress": 3, "total": 10}, (3, 10, "")),
        ({"progress": 0.5, "total": 1}, (0.5, 1, "")),
        ({"step": 2, "steps": 5, "msg": "two"}, (2, 5, "two")),
        ({"step": "loading", "current": 2, "total": 5}, (2, 5, "loading")),
        ({"current": Decimal("1.5"), "total": Decimal(3)}, (1.5, 3, "")),
        ({"current": 12, "total": 10}, (12, 10, "")),
        ({"progress": "3/10"}, (3, 10, "")),
        ({"current": "3 of 10"}, (3, 10, "")),
        ({"progress": {"current": 3, "total": 10}, "text": "x"}, (3, 10, "x")),
        ({"percent": 45}, (45, 100, "")),
        ({"percent": "45 %", "total": 200}, (45, 100, "")),
        ({"progress": 45}, (45, 100, "")),
        ({"progress": 0.45}, (45, 100, "")),
        ({"progress": 1}, (1, 100, "")),
        ({"current": 7}, (7, None, "")),
        ({"current": 0, "total": 0}, (0, None, "")),
        ({"current": 3, "total": -1}, (3, None, "")),
        ({"current": 3, "total": float("nan")}, (3, None, "")),
        ({"current": 3, "total": {"of": 10}}, (3, None, "")),
        ({"current": 3, "total": 10, "status": ["no", "text"], "message": "a text"}, (3, 10, "a text")),
    ],
)
def test_it_reads_the_progress(meta: object, expected: tuple[float, float | None, str]) -> None:
    assert progress_of_meta(meta) == expected


@pytest.mark.parametrize(
    "meta",
    [
        None, 5, "3/10", [3, 10], b"x", {}, {5: 6}, {"status": "no number"}, {"total": 10},
        {"current": True, "total": 10}, {"current": None, "total": None}, {"current": -1, "total": 10},
        {"current": float("nan"), "total": 10}, {"current": "inf"}, {"current": 10**400}, {"current": "9" * 5_000},
        {"current": [3], "total": [10]}, {"progress": {"progress": {"current": 3}}}, {"progress": "a/b"},
        {"percent": Decimal("sNaN")}, {"current": "\udce4"}, {"exc_type": "ValueError", "exc_message": ["by hand"]},
    ],
)  # fmt: skip
def test_without_a_usable_number_there_is_none(meta: object) -> None:
    assert progress_of_meta(meta) is None
