"""Arguments and results as trees: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.runs.page import values
from webapp.runs.page.values import ALL, FIRST, Limit, Value

SMALL = Limit(parts=12, characters=200, text=20, depth=3, children=4)


def parts(value: Value) -> Iterator[Value]:
    yield value
    for child in value.children:
        yield from parts(child)


def test_kinds_are_distinguished() -> None:
    text = '{"a": 1.5, "b": "1.5", "c": null, "d": true, "e": [], "f": {"g": "é"}}'
    root = values.tree(text).root
    assert (root.kind, root.size) == ("object", 6)
    assert [(child.name, child.kind, child.text) for child in root.children] == [
        ("a", "number", "1.5"),
        ("b", "text", "1.5"),
        ("c", "null", "null"),
        ("d", "boolean", "true"),
        ("e", "list", ""),
        ("f", "object", ""),
    ]
    assert values.tree(text).whole
    assert root.preview == 'a: 1.5, b: "1.5", c: null, d: true, …'


@pytest.mark.parametrize(
    ("envelope", "shown"),
    [
        ({"__type__": "date", "__value__": "2027-10-30"}, "2027-10-30"),
        (
            {"__type__": "uuid", "__value__": {"hex": "0f8fad5bd9cb469fa16570867728950e"}},
            "0f8fad5bd9cb469fa16570867728950e",
        ),
    ],
)
def test_an_envelope_of_celery_is_shown_as_its_value(envelope: dict[str, Any], shown: str) -> None:
    text = json.dumps({"at": envelope})
    root = values.tree(text).root
    assert [(child.kind, child.text) for child in root.children] == [("text", shown)]
    assert root.preview == f'at: "{shown}"'
    assert json.loads(values.as_json(text)) == {"at": envelope}


def test_what_is_left_out_is_counted() -> None:
    tree = values.tree(json.dumps({"long": "x" * 1000, "many": list(range(100))}), SMALL)
    long, many = tree.root.children
    assert (len(long.text), long.size, long.left_out) == (20, 1000, 980)
    assert (len(many.children), many.size, many.left_out) == (4, 100, 96)
    assert not tree.whole


def test_a_long_first_part_does_not_hide_the_others() -> None:
    tree = values.tree(json.dumps({"first": [[1] * 3] * 3, "second": {"third": 2}}), SMALL)
    assert [child.name for child in tree.root.children] == ["first", "second"]
    assert tree.root.children[1].children[0].text == "2"


def test_secrets_are_masked_wherever_they_lie() -> None:
    text = json.dumps({"user": 5, "deep": [{"api_key": {"a": "hush"}, "b": 1}], "password": "hush"})
    assert "hush" not in repr(values.tree(text, ALL))
    assert json.loads(values.as_json(text)) == {"user": 5, "deep": [{"api_key": "•••", "b": 1}], "password": "•••"}


def test_arguments_by_position_have_the_names_of_parameters() -> None:
    root = values.tree('["ann", "hush", 3]', names=["user", "password"]).root
    assert [(child.name, child.text) for child in root.children] == [("user", "ann"), ("password", "•••"), (None, "3")]
    assert "hush" not in root.preview
    assert json.loads(values.as_json('["ann", "hush", 3]', ["user", "password"])) == ["ann", "•••", 3]


@pytest.mark.parametrize("levels", [100, 990, 1_000, 100_000])
def test_deep_values_are_shown_as_far_as_they_can_be(levels: int) -> None:
    text = '{"a": ' + "[" * levels + '"[{"' + "]" * levels + ', "password": "hush"}'
    for limit, deepest in ((FIRST, FIRST.depth), (ALL, ALL.depth)):
        tree = values.tree(text, limit)
        assert len(list(parts(tree.root.children[0]))) == deepest
        assert not tree.whole
    written = values.as_json(text)
    assert "hush" not in written
    assert ("…" in written) == (levels > values.MAX_DEPTH)


def test_huge_values_cost_a_page_no_more_than_others() -> None:
    huge = json.dumps([{"number": number, "name": f"row {number}"} for number in range(30_000)])
    assert len(huge) > 1_000_000
    shown = list(parts(values.tree(huge).root))
    assert len(shown) <= FIRST.parts
    assert sum(len(part.text) + len(part.preview) for part in shown) < 2 * FIRST.characters
    assert len(list(parts(values.tree(huge, ALL).root))) <= ALL.parts
    text = values.tree(json.dumps("x" * 1_000_000)).root
    assert (len(text.text), text.size) == (FIRST.text, 1_000_000)


@pytest.mark.parametrize("text", ["(1, 2)", '{"a": 1', "… cut here", "<b>bold</b>"])
def test_what_is_no_json_is_one_text(text: str) -> None:
    tree = values.tree(text)
    assert (tree.root.kind, tree.root.text, tree.whole) == ("raw", text, True)
    assert values.as_json(text) == text


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@settings(max_examples=60)
@given(_ANY)
def test_any_value_stays_within_the_limit(value: Any) -> None:
    tree = values.tree(json.dumps(value), SMALL)
    shown = list(parts(tree.root))
    assert len(shown) <= SMALL.parts
    assert all(len(part.text) <= SMALL.text for part in shown)
    assert all(len(part.children) + part.left_out == part.size for part in shown if part.kind in ("list", "object"))
