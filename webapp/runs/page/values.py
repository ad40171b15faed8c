"""Arguments and results as trees that a page can show: long ones shortened, secrets masked. Pure.

The tree is filled level by level until a limit is reached, so that a long first branch does not hide the others.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any

from beatdesk.secrecy.names import is_secret
from beatdesk.secrecy.text import MASK
from webapp.runs.call.summary import unwrapped

# Values nested deeper are left out; the limits of the JSON parser and of browsers are not far below.
MAX_DEPTH = 150
# Longer text is not indented: Python's encoder then writes each part by itself, which is slow.
MAX_INDENTED_LENGTH = 100_000
# The preview of a closed container: the number of its parts, and of characters.
PREVIEW_PARTS, MAX_PREVIEW_LENGTH = 4, 70
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a value is shown: parts, characters in all and of one text, levels, and parts of one container."""

    parts: int
    characters: int
    text: int
    depth: int
    children: int


FIRST = Limit(parts=150, characters=8_000, text=240, depth=6, children=40)
ALL = Limit(parts=4_000, characters=400_000, text=50_000, depth=60, children=4_000)


@dataclass(slots=True)
class Value:
    """A node of the tree. `kind` is object, list, text, number, boolean, null, secret, deep, or raw (not JSON).

    `size` is the number of parts of a container or of characters of a text; `left_out` is how many are not shown;
    `preview` is the beginning of a container.
    """

    kind: str
    name: str | None = None
    text: str = ""
    size: int = 0
    left_out: int = 0
    preview: str = ""
    open: bool = False
    children: list[Value] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tree:
    """The tree of a value; `whole` if nothing was left out."""

    root: Value
    whole: bool


def tree(text: str, limit: Limit = FIRST, names: Sequence[str] = ()) -> Tree:
    """The tree of JSON text, within the limit. Text that is not JSON is one node.

    `names` are those of a list's parts: arguments by position have the names of the task's parameters.
    """
    try:
        found = _parse(text)
    except ValueError:
        found = _Raw(text)
    root = _TreeBuilder(limit, names).build(found)
    parts = list(_walk(root))
    for value in parts:
        value.open = value is root or len(parts) <= limit.children
    return Tree(root, not any(value.left_out for value in parts))


def as_json(text: str, names: Sequence[str] = ()) -> str:
    """The value for copying, indented unless it is large, with secrets masked; text that is not JSON is unchanged.

    `names` as for `tree`.
    """
    try:
        return _to_json(json.loads(text), names, None if len(text) > MAX_INDENTED_LENGTH else 2)
    except RecursionError:
        return _to_json(_parse_deep(text), names)
    except ValueError:
        return text


def _to_json(found: Any, names: Sequence[str], indent: int | None = None) -> str:
    if isinstance(found, list):
        found = [MASK if name and is_secret(name) else inner for name, inner in _with_names(found, names)]
    return json.dumps(_masked(found), ensure_ascii=False, indent=indent)


def _with_names(parts: list[Any], names: Sequence[str]) -> Iterator[tuple[str | None, Any]]:
    """A list's parts, each with its name, None beyond the last name."""
    return zip(chain(names, repeat(None)), parts, strict=False)


class _Raw(str):
    """Text that is not JSON."""

    __slots__ = ()


class _Deep:
    """In the place of a container that is nested too deep."""


def _parse(text: str) -> Any:
    """The value of JSON text, without parts that are nested too deep. Raises ValueError for text that is not JSON."""
    try:
        return json.loads(text)
    except RecursionError:
        return _parse_deep(text)


def _parse_deep(text: str) -> Any:
    marker = secrets.token_hex(16)
    return _with_deep_parts(json.loads(_cut_at_depth(text, f'"{marker}"')), marker)


def _cut_at_depth(text: str, marker: str) -> str:
    """JSON text with the marker in place of each container that is nested too deep."""
    kept, start, level = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            level += 1
            if level == MAX_DEPTH:
                kept += [text[start : token.start()], marker]
        elif token[0] in "]}":
            if level == MAX_DEPTH:
                start = token.end()
            level -= 1
    return "".join([*kept, text[start:]])


def _with_deep_parts(value: Any, marker: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_deep_parts(inner, marker) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_deep_parts(inner, marker) for inner in value]
    return _Deep() if value == marker else value


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: MASK if is_secret(name) else _masked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    return "…" if isinstance(value, _Deep) else value


class _TreeBuilder:
    """Builds a tree until the limit is reached."""

    def __init__(self, limit: Limit, names: Sequence[str]) -> None:
        self.limit = limit
        self.names = names
        self.parts = limit.parts
        self.characters = limit.characters
        self.waiting: deque[tuple[Any, Value, int]] = deque()

    def build(self, found: Any) -> Value:
        root = self.value(found, None, 0)
        while self.waiting:
            inner, value, depth = self.waiting.popleft()
            self.add_children(inner, value, depth)
        return root

    def value(self, found: Any, name: str | None, depth: int) -> Value:
        """The node of one part, whose own parts are added later."""
        self.parts -= 1
        if name is not None:
            name = name if len(name) <= self.limit.text else f"{name[: self.limit.text]}…"
            self.characters -= len(name)
            if is_secret(name):
                return Value("secret", name, MASK)
        found = unwrapped(found)
        if isinstance(found, dict | list):
            value = Value("object" if isinstance(found, dict) else "list", name, size=len(found))
            value.preview = _preview(found, self.names if depth == 0 else ())
            self.waiting.append((found, value, depth))
            return value
        if isinstance(found, str):
            return self.text(found, name)
        if isinstance(found, _Deep):
            return Value("deep", name, left_out=1)
        kind = "null" if found is None else "boolean" if isinstance(found, bool) else "number"
        written = json.dumps(found)
        self.characters -= len(written)
        return Value(kind, name, written[: self.limit.text], left_out=max(len(written) - self.limit.text, 0))

    def text(self, found: str, name: str | None) -> Value:
        raw = isinstance(found, _Raw)
        room = max(min(self.limit.characters if raw else self.limit.text, self.characters), 20)
        shown = found[:room]
        self.characters -= len(shown)
        return Value("raw" if raw else "text", name, str(shown), len(found), len(found) - len(shown))

    def add_children(self, found: Any, value: Value, depth: int) -> None:
        names = self.names if depth == 0 else ()
        pairs = iter(found.items()) if isinstance(found, dict) else _with_names(found, names)
        room = self.limit.children if depth < self.limit.depth else 0
        for name, inner in pairs:
            if not room or self.parts <= 0 or self.characters <= 0:
                break
            room -= 1
            value.children.append(self.value(inner, name, depth + 1))
        value.left_out = len(found) - len(value.children)


def _preview(found: dict[str, Any] | list[Any], names: Sequence[str]) -> str:
    """The first parts of a container; containers among them are shown as `{…}` and `[…]`."""
    first = list(islice(found.items() if isinstance(found, dict) else _with_names(found, names), PREVIEW_PARTS))
    parts = [f"{name}: {_preview_of(inner, name)}" if name is not None else _preview_of(inner) for name, inner in first]
    text = ", ".join(parts) + (", …" if len(found) > len(first) else "")
    return text if len(text) <= MAX_PREVIEW_LENGTH else f"{text[:MAX_PREVIEW_LENGTH]}…"


def _preview_of(found: Any, name: str | None = None) -> str:
    if name is not None and is_secret(name):
        return MASK
    found = unwrapped(found)
    if isinstance(found, dict | list):
        return ("{…}" if isinstance(found, dict) else "[…]") if found else json.dumps(found)
    if isinstance(found, _Deep):
        return "…"
    return json.dumps(found[:MAX_PREVIEW_LENGTH] if isinstance(found, str) else found, ensure_ascii=False)


def _walk(value: Value) -> Iterator[Value]:
    yield value
    for child in value.children:
        yield from _walk(child)
