"""Which runs form a workflow, and its structure: pure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from beatdesk.execution import canvas
from webapp.run_store.states import RunState
from webapp.runs.page import family
from webapp.runs.page.family import Branch, Group, Member, Node

app = Celery("family", backend="cache+memory://", broker="memory://", set_as_current=False)


@app.task(name="a")
def a(*_: Any) -> None:
    """Never executed."""


@app.task(name="b")
def b(*_: Any) -> None:
    """Never executed."""


def frozen(signature: Any) -> Any:
    """As it stands in a message."""
    signature.freeze()
    return json.loads(json.dumps(signature))


def outline(branches: list[Branch]) -> str:
    """Trees as text: `a(called, called) > then`, groups as `[member member] > body`; a run to come has a `?`."""
    return " ".join(_outline_of(branch) for branch in branches)


def _outline_of(branch: Branch) -> str:
    if isinstance(branch, Group):
        body = f" > {_outline_of(branch.body)}" if branch.body else ""
        return f"{'chord' if branch.chord else 'group'}[{outline(branch.members)}]{body}"
    name = branch.member.id + ("" if branch.member.state else "!" if branch.member.never else "?")
    calls = f"({outline(branch.calls)})" if branch.calls else ""
    return name + calls + "".join(f" > {_outline_of(each)}" for each in branch.then)


def run(
    run_id: str,
    parent: str | None = None,
    state: RunState = RunState.SUCCEEDED,
    group_id: str | None = None,
    index: int | None = None,
    **options: Any,
) -> Member:
    following = canvas.following(json.dumps(options)) if options else canvas.NOTHING_FOLLOWS
    return Member(run_id, "task", state, parent, group_id, index, None, following)


def signature(run_id: str, **options: Any) -> dict[str, Any]:
    return {"task": "task", "options": {"task_id": run_id, **options}, "kwargs": {}, "subtask_type": None}


def test_calls_stand_below_their_caller() -> None:
    assert outline(family.tree([run("p"), run("a", "p"), run("b", "p"), run("c", "b")])) == "p(a b(c))"


def test_chain_goes_on_below_with_what_is_to_come() -> None:
    # A message has its chain in reverse.
    first = run("a", "p", chain=[signature("c"), signature("b")])
    assert outline(family.tree([run("p"), first])) == "p(a > b? > c?)"
    second = run("b", "a", RunState.STARTED, chain=[signature("c")])
    assert outline(family.tree([run("p"), first, second])) == "p(a > b > c?)"


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.REVOKED, RunState.EXPIRED])
def test_nothing_comes_after_a_link_that_failed(state: RunState) -> None:
    first = run("a", "p", state, chain=[signature("c"), signature("b")])
    assert outline(family.tree([run("p"), first])) == "p(a > b! > c!)"


def test_chord_continues_below_its_group_for_any_sender_of_the_body() -> None:
    members = [run(name, "p", group_id="g", index=index, chord=signature("z")) for index, name in enumerate("ab")]
    assert outline(family.tree([run("p"), *members])) == "p(chord[a b] > z?)"
    # The last member sends the body, which says that it is of the group too.
    body = run("z", "b", group_id="g")
    assert outline(family.tree([run("p"), *members, body])) == "p(chord[a b] > z)"
    members[0] = run("a", "p", RunState.FAILED, "g", 0, chord=signature("z"))
    assert outline(family.tree([run("p"), *members])) == "p(chord[a b] > z!)"


def test_group_is_ordered_by_its_own_numbers_and_keeps_its_size() -> None:
    members = [run(name, "p", group_id="g", index=index) for index, name in ((1, "b"), (0, "a"))]
    [node] = family.tree([run("p"), *members], {"g": 40})
    assert outline([node]) == "p(group[a b])"
    assert isinstance(node, Node)
    [drawn] = node.calls
    assert isinstance(drawn, Group)
    assert drawn.size == 40


def test_chain_in_a_chord_is_a_member_by_its_last_step() -> None:
    last = signature("b", group_id="g", group_index=0, chord=signature("z"))
    ended = run("b", "a", group_id="g", index=0, chord=signature("z"))
    other = run("c", "p", group_id="g", index=1, chord=signature("z"))
    assert outline(family.tree([run("p"), run("a", "p", chain=[last]), ended, other])) == "p(chord[a > b c] > z?)"


def test_what_celery_makes_of_a_canvas_is_understood() -> None:
    made = chain(a.s(), group(a.s(), b.s()), b.s(), a.s())
    made.freeze()
    rest = made.tasks[1:]
    member = run("first", chain=json.loads(json.dumps(list(reversed(rest)))))
    [node] = family.tree([member])
    assert isinstance(node, Node)
    [then] = node.then
    assert isinstance(then, Group)
    assert (then.chord, then.size) == (True, 2)
    assert isinstance(then.body, Node)
    assert (then.body.member.task, len(family.members([node]))) == ("b", 5)
    assert canvas.following(json.dumps({"chord": frozen(chord([a.s()], b.s()))})).joins is not None


def test_task_that_replaced_itself_by_a_chord_stays_above_it() -> None:
    members = [run(name, "x", group_id="g", index=index, chord=signature("x")) for index, name in enumerate("ab")]
    assert outline(family.tree([run("p"), run("x", "p"), *members])) == "p(x(chord[a b]))"
    assert outline(family.tree([run("x", "x")])) == "x"


def test_family_without_its_eldest_is_drawn_all_the_same() -> None:
    assert outline(family.tree([run("a", "gone"), run("b", "a"), run("c", "gone")])) == "a(b) c"
    # Whatever a broken message says, nothing is drawn twice and nothing goes round.
    assert outline(family.tree([run("a", "b"), run("b", "a")])) == "a(b)"
    assert outline(family.tree([run("a", chain=[signature("a")])])) == "a"


def test_many_are_not_drawn() -> None:
    calls = family.tree([run("p"), *(run(str(n), "p") for n in range(500))])
    chain = family.tree([run("p", chain=[signature(str(n)) for n in range(500)])])
    assert len(family.members(calls)) == len(family.members(chain)) == family.MAX_DRAWN_RUNS


@pytest.mark.parametrize(
    "options", [None, "", "no json", "[]", "null", '{"chain": 5}', '{"chain": [7, null]}', '{"chord": []}', "{" * 3000]
)
def test_what_is_not_understood_is_followed_by_nothing(options: str | None) -> None:
    assert canvas.following(options) == canvas.NOTHING_FOLLOWS


def test_too_large_a_message_is_not_read() -> None:
    options = json.dumps({"chain": [signature("b")], "x": "x" * canvas.MAX_OPTIONS_LENGTH})
    assert canvas.following(options) == canvas.NOTHING_FOLLOWS
