"""Positions of runs in the diagram of a workflow: pure."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beatdesk.execution.canvas import Following, Step
from webapp.runs.page import family, family_drawing
from webapp.runs.page.family import Branch, Group, Member, Node
from webapp.runs.page.family_drawing import Picture


def node(name: str = "orders.price") -> Node:
    return Node(Member(name, name, "succeeded"))


def nodes(count: int) -> list[Branch]:
    return [node(f"task.{number}") for number in range(count)]


def check(drawn: Picture, count: int) -> None:
    """Everything is there, within the drawing, and nothing lies on anything else."""
    assert len(drawn.boxes) == count
    for box in drawn.boxes:
        assert box.x >= 0
        assert box.x + box.width <= drawn.width
        assert box.y >= 0
        assert box.y + box.height <= drawn.height
        assert min(box.width, box.height) >= 24
    for one, other in combinations(drawn.boxes, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y


def test_time_goes_downwards() -> None:
    first, second, called = node("first"), node("second"), node("called")
    first.then, first.calls = [second], [called]
    drawn = family_drawing.draw([first])
    check(drawn, 3)
    tops = {box.member.task: box.y for box in drawn.boxes}
    assert tops["first"] < tops["called"] < tops["second"]
    assert [path.arrow for path in drawn.paths] == [False, True]


@pytest.mark.parametrize("count", [1, 6, 7, 58])
def test_group_has_a_frame_around_its_members(count: int) -> None:
    drawn = family_drawing.draw([Group(nodes(count), 1_000, chord=True, body=node("body"))])
    check(drawn, count + 1)
    [frame] = drawn.frames
    assert frame.text == "chord of 1,000"
    inside = [box for box in drawn.boxes if box.y + box.height <= frame.y + frame.height]
    assert len(inside) == count
    assert all(box.tile == (count > family_drawing.MAX_BOXES) for box in inside)


def test_deep_calls_stay_within_the_drawing() -> None:
    top = deepest = node()
    for _ in range(59):
        deepest.calls = [node()]
        deepest = deepest.calls[0]  # type: ignore[assignment]  # a node was put there
    check(family_drawing.draw([top]), 60)


def test_long_names_fit_their_boxes() -> None:
    drawn = family_drawing.draw(
        [node("accounting.reports." + "monthly_" * 20), node("a.rather.long.path.to.a.certain.task")]
    )
    assert all(
        len(box.text) * family_drawing.CHARACTER_WIDTH <= box.width - family_drawing.TEXT_MARGIN for box in drawn.boxes
    )
    assert [box.text[-1] for box in drawn.boxes] == ["…", "k"]


_IDS = st.sampled_from([str(number) for number in range(30)])
_STEPS = st.builds(Step, _IDS, group_id=_IDS, group_index=st.none() | st.integers(0, 9))
_FOLLOWING = st.builds(Following, st.lists(_STEPS, max_size=3).map(tuple), joins=st.none() | _STEPS)
_MEMBERS = st.builds(
    Member,
    id=_IDS,
    task=st.just("a.b"),
    state=st.sampled_from(["succeeded", "failed", "queued"]),
    parent_id=st.none() | _IDS,
    group_id=st.none() | _IDS,
    group_index=st.none() | st.integers(0, 9),
    following=_FOLLOWING,
)


@settings(max_examples=60)
@given(st.lists(_MEMBERS, max_size=25))
def test_every_run_is_drawn_once(members: list[Member]) -> None:
    branches = family.tree(members)
    drawn = family_drawing.draw(branches)
    check(drawn, len(family.members(branches)))
    ids = [box.member.id for box in drawn.boxes]
    assert len(ids) == len(set(ids))
    assert {member.id for member in members} <= set(ids)
