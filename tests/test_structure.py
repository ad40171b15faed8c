"""The structure of packages: rooms on floors, none too full, no cycles."""

from __future__ import annotations

import pytest

from bench.structure import Measure, measures, mutual_pairs


@pytest.fixture(scope="module")
def found() -> list[Measure]:
    return measures()


def test_every_bar_of_the_structure_is_kept(found: list[Measure]) -> None:
    assert [measure for measure in found if not measure.holds] == []
    assert sum(measure.bar is not None for measure in found) == 4


def test_rooms_that_import_each_other_are_seen() -> None:
    assert mutual_pairs({"mail": {"runs"}, "runs": {"mail", "web"}, "web": set()}) == {("mail", "runs")}


def test_a_folder_that_is_too_full_is_seen() -> None:
    assert not Measure("modules", 21, 20).holds
    assert Measure("modules", 20, 20).holds
