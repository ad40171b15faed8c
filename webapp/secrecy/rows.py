"""Arguments in the rows of schedules, with `sealed:v2:…` in the place of each secret.

Only values from our own tables, or from an export of them, are opened here. A sealed value is bound to its task and its
place, and cannot be opened elsewhere; one of version 1 was not bound, and is opened only where the argument is secret.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from beatdesk.secrecy.masking import NAMES_ONLY, Concealed, Opened, Rule, conceal, is_blank, masked_value, walk_call
from beatdesk.secrecy.sealing import (
    FIRST_VERSION,
    VERSION,
    Unopenable,
    looks_sealed,
    needs_sealing,
    seal,
    unseal,
    version_of,
)
from beatdesk.secrecy.text import SEALED

SCHEDULE = "schedule"
ALL_VERSIONS = (FIRST_VERSION, VERSION)
Call = tuple[Sequence[Any], Mapping[str, Any]]


def open_value(task: str, value: str, hidden: int, place: tuple[Any, ...]) -> Opened:
    """Open a sealed value at its place. Raises Unopenable."""
    sealed = value.removeprefix(SEALED)
    if version_of(sealed) == FIRST_VERSION and not hidden:
        raise Unopenable("its secret arguments were sealed for another place")
    return Opened(json.loads(unseal(sealed, SCHEDULE, task, *place)))


def open_call(rule: Rule, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Concealed:
    """The call of a row, opened and concealed. Raises Unopenable."""

    def opened(value: Any, hidden: int, place: tuple[Any, ...]) -> Any:
        return open_value(task, value, hidden, place) if looks_sealed(value) else value

    call = walk_call(rule, args, kwargs, opened)
    found = conceal(rule, *call)
    found.plain = walk_call(NAMES_ONLY, *call, _content)
    return found


def _content(value: Any, _hidden: int, _place: tuple[Any, ...]) -> Any:
    return value.content if isinstance(value, Opened) else value


def shown_call(rule: Rule, task: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The call of a row, masked for pages, also where it cannot be opened or is not a valid call."""
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return masked_value(args), masked_value(kwargs)
    try:
        call = open_call(rule, task, args, kwargs)
    except Unopenable:
        call = conceal(rule, args, kwargs)
    return call.args, call.kwargs


def seal_call(  # noqa: PLR0917  # a call, and the one before it
    rule: Rule,
    task: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    former: Call = ((), {}),
    keep: Collection[str] = ALL_VERSIONS,
) -> tuple[list[Any], dict[str, Any]]:
    """The call with each secret sealed in its place.

    A sealed value in `former`, the previous call, is reused if it has the same content and a version in `keep`, so that
    the same secret is not a change.
    """
    before = {"args": former[0], "kwargs": former[1]}

    def sealed(value: Any, hidden: int, place: tuple[Any, ...]) -> Any:
        value, was_sealed = _content(value, hidden, place), isinstance(value, Opened)
        known = _at(before, place)
        if looks_sealed(known) and version_of(known.removeprefix(SEALED)) in keep:
            if _holds(task, known, value, hidden, place):
                return known
        elif not was_sealed and not needs_sealing(value, hidden):
            return value
        return value if is_blank(value) else SEALED + seal(json.dumps(value), SCHEDULE, task, *place)

    return walk_call(rule, args, kwargs, sealed)


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    """The value at a place, or None."""
    for name in place:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list | tuple) and isinstance(name, int) and name < len(value):
            value = value[name]
        else:
            return None
    return value


def _holds(task: str, sealed: str, value: Any, hidden: int, place: tuple[Any, ...]) -> bool:
    """Whether a sealed text has this value as its content."""
    try:
        return json.dumps(open_value(task, sealed, hidden, place).content) == json.dumps(value)
    except Unopenable:
        return False


def sealed_places(args: Any, kwargs: Any) -> list[str]:
    """The places of sealed values within a call, such as `args[1]` or `kwargs.user.token`."""
    found: list[str] = []

    def note(value: Any, _hidden: int, place: tuple[Any, ...]) -> None:
        if looks_sealed(value):
            root, *rest = place
            found.append(root + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in rest))

    walk_call(NAMES_ONLY, args if isinstance(args, list) else [], kwargs if isinstance(kwargs, dict) else {}, note)
    return found
