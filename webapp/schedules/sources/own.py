"""Our own files: YAML, or JSON, which is YAML too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from webapp.encoding import encodable_json, encodable_value
from webapp.schedules.sources.given import Given, check_names, refuse

# The parser in C where it is there: ten thousand schedules take seconds and not half a minute.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


SEALED_HEAD = """\
# Secret arguments are sealed: only an instance with the same SECRET_KEY can open them. For another one write their
# values in their places; it seals them when it imports them. They stand here:
"""


def to_yaml(entries: Sequence[Mapping[str, Any]], sealed: Mapping[str, Sequence[str]] | None = None) -> str:
    """The text of a file; `sealed` says by name where sealed secrets stand, which the file's head then tells."""
    text: str = yaml.safe_dump(
        {"schedules": encodable_value(list(entries))}, sort_keys=False, allow_unicode=True, width=100
    )
    told = "".join(f"#   {' '.join(name.split())}: {', '.join(places)}\n" for name, places in (sealed or {}).items())
    return (SEALED_HEAD + told if told else "") + text


def from_yaml(text: str) -> list[Given]:
    """The entries of a file. Raises Invalid with what is wrong with the file."""
    try:
        # YAML knows no escapes of surrogates, as JSON has them.
        read, lines = _read(encodable_json(text) if text.lstrip()[:1] in ("{", "[") else text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise refuse(f"This is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(read, list) or not all(isinstance(one, dict) for one in read):
        raise refuse("A list named “schedules” is needed, each with its fields.")
    return check_names(
        [
            Given(str(one.get("name") or ""), {str(key): value for key, value in one.items()}, line)
            for one, line in zip(read, lines, strict=True)
        ]
    )


def _read(text: str) -> tuple[Any, list[int]]:
    """The list of schedules, and the line on which each begins."""
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        read = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    if isinstance(read, dict):
        node = next((value for key, value in node.value if key.value == "schedules"), None)
        read = read.get("schedules")
    lines = [item.start_mark.line + 1 for item in node.value] if isinstance(node, yaml.SequenceNode) else []
    return read, lines
