"""The search box of `/runs`: words and qualifiers, parsed into one value. Pure functions.

    task:add state:failed since:2h args.user:5 runtime:>10s "connection refused"

Terms are joined by AND. A word with spaces or colons stands in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from webapp.run_store.states import RunState
from webapp.web.errors import Invalid

QUALIFIERS = ("task", "state", "schedule", "worker", "queue", "id", "root", "args.NAME", "runtime", "since")
MAX_SEARCH_LENGTH = 500
MIN_ID_LENGTH, MAX_ID_LENGTH = 4, 36

_TERM = re.compile(r'(?:[^\s"]|"[^"]*")+')
_NAMED = re.compile(r"([A-Za-z][\w.\-]*):(.*)", re.DOTALL)
_RUNTIME = re.compile(r"([<>]=?)(.+)")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|sec|m|min|h|d|w)?")
_UNITS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
# Longer than any history, and short enough for the calendar of every database.
_MAX_SECONDS = 100 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Search:
    """A parsed search. Empty values match everything; `runtime` is pairs of operator and seconds."""

    tasks: tuple[str, ...] = ()
    states: tuple[RunState, ...] = ()
    schedules: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    arguments: tuple[tuple[str, str], ...] = ()
    runtime: tuple[tuple[str, float], ...] = ()
    since: timedelta | None = None
    words: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it matches every run."""
        return self == Search()


def parse(text: str, **more: str) -> Search:
    """Read a search; `more` are terms from elsewhere in the address, by qualifier, empty ones left out.

    Raises Invalid at `q` with a sentence about the first term that it does not understand.
    """
    if len(text) > MAX_SEARCH_LENGTH:
        raise _invalid(f"A search has at most {MAX_SEARCH_LENGTH} characters.")
    if text.count('"') % 2:
        raise _invalid("A quote is not closed.")
    found: dict[str, list[Any]] = {}
    for term in _TERM.findall(text):
        named = None if term.startswith('"') else _NAMED.fullmatch(term)
        if named:
            name = named[1] if named[1].startswith("args.") else named[1].lower()
            _add(found, name, named[2].replace('"', ""))
        elif word := term.replace('"', "").strip():
            found.setdefault("words", []).append(word)
    for name, value in more.items():
        if value:
            _add(found, name, value)
    since = min(found.pop("since", []), default=None)
    return Search(since=since, **{field: tuple(values) for field, values in found.items()})


def _add(found: dict[str, list[Any]], name: str, value: str) -> None:
    """Add the value of one qualifier to its field of `Search`. Raises Invalid with what could not be understood."""
    if not value:
        raise _invalid(f"“{name}:” needs a value, for example {_example(name)}.")
    if name.startswith("args."):
        found.setdefault("arguments", []).append((name.removeprefix("args."), value))
    elif name in _FIELDS:
        field, parse_value = _FIELDS[name]
        found.setdefault(field, []).append(parse_value(value))
    else:
        known = ", ".join(f"{one}:" for one in QUALIFIERS)
        raise _invalid(
            f"“{name}:” is not a known qualifier. Use {known}. Put quotes around text that contains a colon."
        )


def parse_duration(text: str, name: str = "runtime") -> float:
    """A duration in seconds, from "10s", "2h" or "1.5m"; without a unit it is in seconds. Raises Invalid at `q`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise _invalid(f"“{text}” is not a duration. Example: {_example(name)}.")
    return min(float(match[1]) * _UNITS[match[2] or "s"], _MAX_SECONDS)


def _parse_runtime(value: str) -> tuple[str, float]:
    match = _RUNTIME.fullmatch(value)
    if match is None:
        raise _invalid(f"“runtime:{value}” needs a comparison, for example {_example('runtime')}.")
    return match[1], parse_duration(match[2])


def _parse_since(value: str) -> timedelta:
    return timedelta(seconds=parse_duration(value, "since"))


def _parse_state(value: str) -> RunState:
    try:
        return RunState(value.lower())
    except ValueError:
        states = ", ".join(state.value for state in RunState)
        raise _invalid(f"“{value}” is not a state. Use one of {states}.") from None


def _parse_id(value: str) -> str:
    value = value.lower()
    if not re.fullmatch(r"[0-9a-f-]{1,36}", value):
        raise _invalid(f"“{value}” is not an ID: an ID has only the digits 0 to 9, the letters a to f, and dashes.")
    if len(value) < MIN_ID_LENGTH:
        raise _invalid(f"Enter at least {MIN_ID_LENGTH} characters of an ID.")
    return value


def _parse_root_id(value: str) -> str:
    """The id of a root may have any form: the program that sent the first message chose it."""
    if len(value) > MAX_ID_LENGTH:
        raise _invalid(f"“{value[:MAX_ID_LENGTH]}…” is too long for an ID.")
    return value


def _example(name: str) -> str:
    examples = {"runtime": "runtime:>10s", "since": "since:2h", "state": "state:failed", "id": "id:3f2a"}
    if name.startswith("args."):
        return f"{name}:5"
    return examples.get(name, f"{name}:NAME")


def _invalid(sentence: str) -> Invalid:
    return Invalid({"q": sentence})


# The field of `Search` that each qualifier belongs to, and what parses its value.
_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "task": ("tasks", str),
    "state": ("states", _parse_state),
    "schedule": ("schedules", str),
    "worker": ("workers", str),
    "queue": ("queues", str),
    "id": ("ids", _parse_id),
    "root": ("roots", _parse_root_id),
    "runtime": ("runtime", _parse_runtime),
    "since": ("since", _parse_since),
}
