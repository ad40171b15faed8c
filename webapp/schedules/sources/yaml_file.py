"""Reads and writes Beatdesk's own files: YAML, or JSON, which is YAML too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from beatdesk.encoding import decode_json, encodable_json, encodable_value
from webapp.schedules.sources.given import MAX_DEPTH, MAX_VALUES, TOO_DEEP, TOO_MANY, Given, check_names, refuse

# YAML 1.1 reads 1:30:00 as a number; a very long one would take hours.
MAX_NUMBER_LENGTH = 100
# Except for integers: Python itself refuses those with thousands of digits.
_MAY_BE_SLOW = re.compile(r"[-+.0-9](?![0-9]*\Z)")

# The C parser if it is available: ten thousand schedules then take seconds instead of half a minute.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_OWN = re.compile(r'(?:#.*\n|\s)*(?:schedules:|\{\s*"schedules"\s*:)')
# Characters that YAML takes for line breaks or marks; unescaped, they would be read as blanks.
_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
# Everything but printable ASCII: JSON may have characters that YAML refuses.
_NOT_PLAIN = re.compile(r"[^\x20-\x7e\t\r\n]")


class _Dumper(yaml.SafeDumper):
    """A dumper whose texts are read back unchanged."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Quote texts with characters that would not be read back unchanged."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style='"' if _BREAKS.search(data) else None)


_Dumper.add_representer(str, _Dumper.represent_str)

SEALED_HEAD = """\
# Secret arguments are sealed: only an instance with the same SECRET_KEY can open them. For another one write their
# values in their places; it seals them when it imports them. They stand here:
"""


def to_yaml(entries: Sequence[Mapping[str, Any]], sealed: Mapping[str, Sequence[str]] | None = None) -> str:
    """The text of a file; `sealed` has the places of sealed secrets by name, which are listed at its beginning."""
    values = {"schedules": encodable_value(list(entries))}
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    listed = "".join(f"#   {' '.join(name.split())}: {', '.join(places)}\n" for name, places in (sealed or {}).items())
    return (SEALED_HEAD + listed if listed else "") + text


def looks_like_own(text: str) -> bool:
    """Whether a text begins like an export."""
    return _OWN.match(text) is not None


def from_yaml(text: str) -> list[Given]:
    """The entries of a file. Raises Invalid."""
    # JSON has escapes for surrogates, YAML does not.
    found = read_list(encodable_json(text) if _may_be_json(text) else text)
    if found is None or (found and not any(isinstance(one, dict) for one, _line in found)):
        raise refuse("Use a list named “schedules” with the fields of each.")
    return check_names([_given(one, line) for one, line in found])


def _given(one: Any, line: int) -> Given:
    if not isinstance(one, dict):
        return Given(f"line {line}", line=line, error="This is not a schedule with its fields.")
    return Given(str(one.get("name") or ""), {str(key): value for key, value in one.items()}, line)


def read_list(text: str) -> list[tuple[Any, int]] | None:
    """The items of a list in YAML, or of a list named “schedules”, with their lines; None if there is none.

    Raises Invalid.
    """
    try:
        read, lines = _parse(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise refuse(f"This is not YAML: {' '.join(str(error).split())}.") from error
    return list(zip(read, lines, strict=True)) if isinstance(read, list) else None


def _parse(text: str) -> tuple[Any, list[int]]:
    """The list of schedules, and the line on which each begins."""
    # JSON is parsed as YAML as well, to check its size and to find the lines.
    plain = _NOT_PLAIN.sub("?", text) if _may_be_json(text) else text
    size = _Size()
    for event in yaml.parse(plain, Loader=_LOADER):
        size.add(event)
    is_json, read = _read_json(text)
    loader = _LOADER(plain if is_json else text)
    try:
        node = loader.get_single_node()
        if not is_json:
            read = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    if isinstance(read, dict):
        node = next((value for key, value in node.value if key.value == "schedules"), None)
        read = read.get("schedules")
    lines = [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    return read, lines


def _may_be_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[")


def _read_json(text: str) -> tuple[bool, Any]:
    """Whether a text is JSON, and its value: YAML would read `1e400` as text.

    Text that is not JSON may be YAML that begins with a bracket. Raises Invalid for JSON that is not strict.
    """
    if not _may_be_json(text):
        return False, None
    try:
        return True, decode_json(text, max_depth=MAX_DEPTH)
    except json.JSONDecodeError:
        return False, None
    except ValueError as error:
        raise refuse(f"This is not JSON: {error}.") from error


class _Size:
    """Counts the values of a YAML text by its events. An alias counts as much as what it repeats."""

    def __init__(self) -> None:
        self.total = 0
        self.of_anchors: dict[str, int] = {}
        # The anchor of each open collection, and the total before it.
        self.unended: list[tuple[str | None, int]] = []

    def add(self, event: yaml.Event) -> None:
        """Count one event. Raises Invalid if the text is too large or nested too deep."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.unended.pop()
            if anchor:
                self.of_anchors[anchor] = self.total - before
        elif isinstance(event, yaml.NodeEvent):
            self.total += self._size(event, line)
        if self.total > MAX_VALUES:
            raise refuse(TOO_MANY, line)
        if len(self.unended) > MAX_DEPTH:
            raise refuse(TOO_DEEP, line)

    def _size(self, event: yaml.NodeEvent, line: int) -> int:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.of_anchors:
                raise refuse(f"“*{event.anchor[:40]}” refers to an anchor that is not complete.", line)
            return self.of_anchors[event.anchor]
        if isinstance(event, yaml.CollectionStartEvent):
            self.unended.append((event.anchor, self.total))
            return 1
        if not event.style and len(event.value) > MAX_NUMBER_LENGTH and _MAY_BE_SLOW.match(event.value):
            raise refuse(f"A number has at most {MAX_NUMBER_LENGTH} characters; a text needs quotes.", line)
        if event.anchor:
            self.of_anchors[event.anchor] = 1
        return 1
