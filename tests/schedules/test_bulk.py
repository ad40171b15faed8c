from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.visitors import Visitor, number_of

Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def numbers(scheduler: Visitor, filled: Filled) -> list[int]:
    return [number_of(scheduler.post("/schedules", filled(name=f"s{place}"))) for place in range(3)]


def standing(visitor: Visitor) -> list[tuple[bool, bool, list[str]]]:
    return [(row["enabled"], row["paused"], row["tags"]) for row in visitor.read("/schedules")["schedules"]]


def test_it_asks_with_count_and_names_before_it_does_anything(scheduler: Visitor, numbers: list[int]) -> None:
    page = scheduler.post("/schedules/bulk/disable", {"ids": numbers[:2]})
    assert page.status_code == 200
    assert "Disable 2 schedules?" in page.text
    assert re.findall(r"<li>(\w+)</li>", page.text) == ["s0", "s1"]
    assert [enabled for enabled, _paused, _tags in standing(scheduler)] == [True] * 3
    assert scheduler.post("/schedules/bulk/disable", {"ids": numbers[:2], "confirmed": "1"}).status_code == 303
    assert [enabled for enabled, _paused, _tags in standing(scheduler)] == [False, False, True]
    assert "2 schedules disabled." in scheduler.get("/schedules").text


def test_all_that_match(scheduler: Visitor, numbers: list[int]) -> None:
    page = scheduler.post("/schedules/bulk/tag", {"all": "1", "q": "s2"})
    assert "Tag 1 schedule?" in page.text
    answer = scheduler.post_json("/schedules/bulk/tag", {"all": True, "add": "night, slow"})
    assert answer.get_json() == {"done": 3, "refused": {}}
    assert [tags for _enabled, _paused, tags in standing(scheduler)] == [["night", "slow"]] * 3


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("pause", (True, True, [])),
        ("resume", (True, False, [])),
        ("run", (True, False, [])),
        ("enable", (True, False, [])),
        ("disable", (False, False, [])),
    ],
)
def test_each_action(
    scheduler: Visitor, numbers: list[int], action: str, expected: tuple[bool, bool, list[str]]
) -> None:
    assert scheduler.post_json(f"/schedules/bulk/{action}", {"ids": numbers}).get_json()["done"] == 3
    assert standing(scheduler) == [expected] * 3


def test_delete(scheduler: Visitor, numbers: list[int]) -> None:
    assert scheduler.post_json("/schedules/bulk/delete", {"ids": numbers[1:]}).get_json()["done"] == 2
    assert len(standing(scheduler)) == 1


def test_one_that_cannot_does_not_stop_the_others(scheduler: Visitor, numbers: list[int]) -> None:
    scheduler.post(f"/schedules/{numbers[0]}", {"tags": ",".join(f"t{place}" for place in range(20))})
    answer = scheduler.post_json("/schedules/bulk/tag", {"ids": numbers, "add": "one more"}).get_json()
    assert answer["done"] == 2
    assert answer["refused"].keys() == {"s0"}


def test_bulk_action_without_a_selection_is_refused(scheduler: Visitor, numbers: list[int]) -> None:
    assert scheduler.post("/schedules/bulk/delete", {}).status_code == 303
    assert "Select at least one schedule." in scheduler.get("/schedules").text
    assert scheduler.post_json("/schedules/bulk/delete", {"ids": []}).status_code == 422


def test_roles(visit: Callable[[str], Visitor], numbers: list[int]) -> None:
    operator, viewer = visit("operator"), visit("viewer")
    assert operator.post_json("/schedules/bulk/pause", {"ids": numbers}).status_code == 200
    for action in ("enable", "disable", "tag", "delete"):
        assert operator.post_json(f"/schedules/bulk/{action}", {"ids": numbers}).status_code == 403
    assert viewer.post_json("/schedules/bulk/pause", {"ids": numbers}).status_code == 403
    assert 'id="bulk"' not in viewer.get("/schedules").text
