"""Arguments as a schedule's row keeps them: `sealed:v2:…` stands in the place of each secret.

Only what lies in our own tables, or in an export of them, comes here to be opened. A sealed value is bound to its task
and its place, so that it says nothing anywhere else; one of version 1 was not, and is opened only where the argument is
secret.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from webapp.secrecy.masking import Concealed, Opened, Rule, conceal, is_blank, walk, walk_call
from webapp.secrecy.sealing import FIRST_VERSION, VERSION, Unopenable, seal, unseal, version_of
from webapp.secrecy.text import MASK, SEALED, hide

SCHEDULE = "schedule"
ALL_VERSIONS = (FIRST_VERSION, VERSION)
Call = tuple[Sequence[Any], Mapping[str, Any]]
_ANYWHERE = Rule()


def looks_sealed(value: Any) -> bool:
    """Whether a value is a text of the form that sealed ones have."""
    return isinstance(value, str) and value.startswith(SEALED) and bool(version_of(value.removeprefix(SEALED)))


def open_value(task: str, value: str, hidden: int, place: tuple[Any, ...]) -> Opened:
    """A sealed value at its place. Raises Unopenable."""
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
    found.plain = walk_call(_ANYWHERE, *call, _content)
    return found


def _content(value: Any, _hidden: int, _place: tuple[Any, ...]) -> Any:
    return value.content if isinstance(value, Opened) else value


def shown_call(rule: Rule, task: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The call of a row for people, masked; what cannot be opened as a mask too, what is no call as text."""
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        return walk(_ANYWHERE, args, False, (), _as_text), walk(_ANYWHERE, kwargs, False, (), _as_text)
    try:
        call = open_call(rule, task, args, kwargs)
    except Unopenable:
        call = conceal(rule, args, kwargs)
    return call.args, call.kwargs


def _as_text(value: Any, hidden: int, _place: tuple[Any, ...]) -> Any:
    return MASK if hidden and not is_blank(value) else hide(value) if isinstance(value, str) else value


def seal_call(  # noqa: PLR0917  # a call, and the one before it
    rule: Rule,
    task: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    former: Call = ((), {}),
    keep: Collection[str] = ALL_VERSIONS,
) -> tuple[list[Any], dict[str, Any]]:
    """The call with each secret sealed in its place.

    What `former`, the call before, has sealed for the same value stays so, if it is of a version to `keep`: to give a
    secret again is no change.
    """
    before = {"args": former[0], "kwargs": former[1]}

    def sealed(value: Any, hidden: int, place: tuple[Any, ...]) -> Any:
        value, was_sealed = _content(value, hidden, place), isinstance(value, Opened)
        known = _at(before, place)
        if looks_sealed(known) and version_of(known.removeprefix(SEALED)) in keep:
            if _holds(task, known, value, hidden, place):
                return known
        elif not was_sealed and not _needs_sealing(value, hidden):
            return value
        return value if is_blank(value) else SEALED + seal(json.dumps(value), SCHEDULE, task, *place)

    return walk_call(rule, args, kwargs, sealed)


def _needs_sealing(value: Any, hidden: int) -> bool:
    """Whether it is secret, has a secret in it, or would be taken for sealed."""
    return bool(hidden) or (isinstance(value, str) and (looks_sealed(value) or hide(value) != value))


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    """What stood at a place before; None when nothing did."""
    for name in place:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list | tuple) and isinstance(name, int) and name < len(value):
            value = value[name]
        else:
            return None
    return value


def _holds(task: str, sealed: str, value: Any, hidden: int, place: tuple[Any, ...]) -> bool:
    """Whether a sealed text is that of a value."""
    try:
        return json.dumps(open_value(task, sealed, hidden, place).content) == json.dumps(value)
    except Unopenable:
        return False


def sealed_places(args: Any, kwargs: Any) -> list[str]:
    """Where sealed values stand within a call, such as `args[1]` or `kwargs.user.token`."""
    found: list[str] = []

    def note(value: Any, _hidden: int, place: tuple[Any, ...]) -> None:
        if looks_sealed(value):
            root, *rest = place
            found.append(root + "".join(f"[{at}]" if isinstance(at, int) else f".{at}" for at in rest))

    walk_call(_ANYWHERE, args if isinstance(args, list) else [], kwargs if isinstance(kwargs, dict) else {}, note)
    return found
