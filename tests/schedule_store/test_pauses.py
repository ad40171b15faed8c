"""Pauses: which one covers a schedule, and which runs are caught up when it ends. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from webapp.schedule_store.models import Resume
from webapp.schedule_store.pauses import Choice, Pause, covering, due_times_to_catch_up, pause_text, read_tags

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


def pause(number: int, begin: float, end: float | None, *tags: str) -> Pause:
    ends_at = None if end is None else NOON + timedelta(hours=end)
    return Pause(number, frozenset(tags), "repair", "Sita", NOON + timedelta(hours=begin), ends_at)


@pytest.mark.parametrize(("hours", "held"), [(-1.01, False), (-1, True), (0.99, True), (1, False)])
def test_it_holds_from_its_beginning_to_before_its_end(hours: float, held: bool) -> None:
    found = covering([pause(1, -1, 1)], ["slow"], NOON + timedelta(hours=hours))
    assert (found is not None) is held


@pytest.mark.parametrize(("tags", "held"), [([], False), (["fast"], False), (["fast", "slow"], True)])
def test_one_of_tags_holds_who_has_one_of_them(tags: list[str], held: bool) -> None:
    assert (covering([pause(1, -1, None, "slow", "night")], tags, NOON) is not None) is held


def test_of_several_the_one_that_lasts_longest_is_named() -> None:
    pauses = [pause(1, -1, 1), pause(2, -1, 3, "slow"), pause(3, -1, 2), pause(4, 1, None), pause(5, -1, None, "no")]
    found = covering(pauses, ["slow"], NOON)
    assert found is not None
    assert found.id == 2


def test_ended_pause_of_a_schedule_covers_no_other() -> None:
    assert covering([pause(1, -1, 1)._replace(schedule_id=7)], [], NOON) is None


@pytest.mark.parametrize(
    ("reason", "author", "words"),
    [("repair", "Sita", "paused: repair, by Sita"), ("repair", "", "paused: repair"), ("", "", "paused")],
)
def test_the_reason_in_words(reason: str, author: str, words: str) -> None:
    assert pause_text(reason, author) == words


@pytest.mark.parametrize("text", [None, "", "no json", "{}", "[1]"])
def test_tags_that_cannot_be_read_are_none(text: str | None) -> None:
    assert read_tags(text) == ()


@pytest.mark.parametrize("choice", list(Resume))
def test_what_came_due_after_the_end_always_runs(choice: Resume) -> None:
    assert due_times_to_catch_up(Choice(choice, "skip", 60), [110.0], 100.0) == [110.0]


@pytest.mark.parametrize(("window", "expected"), [(60, [50.0, 90.0]), (30, [90.0]), (5, [])])
def test_the_window_reaches_back_from_the_end(window: int, expected: list[float]) -> None:
    assert due_times_to_catch_up(Choice(Resume.ALL, "skip", window), [10.0, 50.0, 90.0], 100.0)[-2:] == expected
