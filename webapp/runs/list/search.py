"""What people type into the search box of `/runs`: words and qualifiers, read into one value. Pure functions.

    task:add state:failed since:2h args.user:5 runtime:>10s "connection refused"

Terms are joined by AND. A word with spaces or colons stands in double quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

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
# Longer than any history that is kept, and short enough for every database's calendar.
_MAX_SECONDS = 100 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for. Empty values ask for nothing; `runtime` is pairs of operator and seconds."""

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
        """Whether everything is asked for."""
        return self == Search()


@dataclass
class _Terms:
    """The terms as they are read; each qualifier has a method of its name."""

    found: dict[str, list[str]] = field(default_factory=dict)
    arguments: list[tuple[str, str]] = field(default_factory=list)
    runtime: list[tuple[str, float]] = field(default_factory=list)
    since: list[timedelta] = field(default_factory=list)

    def take(self, name: str, value: str) -> None:
        """One term. Raises Invalid with what could not be understood."""
        if not value:
            raise _invalid(f"“{name}:” needs a value, for example {_example(name)}.")
        if name.startswith("args."):
            self.arguments.append((name.removeprefix("args."), value))
        elif name == "runtime":
            self.runtime.append(_parse_runtime(value))
        elif name == "since":
            self.since.append(timedelta(seconds=parse_duration(value, "since")))
        elif name == "state":
            self.found.setdefault(name, []).append(_parse_state(value))
        elif name == "id":
            self.found.setdefault(name, []).append(_parse_id(value))
        elif name == "root":
            self.found.setdefault(name, []).append(_parse_root_id(value))
        elif name in ("task", "schedule", "worker", "queue"):
            self.found.setdefault(name, []).append(value)
        else:
            known = ", ".join(f"{one}:" for one in QUALIFIERS)
            raise _invalid(
                f"“{name}:” is not a known qualifier. Use {known}. Put quotes around text that contains a colon."
            )

    def search(self, words: list[str]) -> Search:
        """Everything that was taken."""
        return Search(
            tasks=tuple(self.found.get("task", ())),
            states=tuple(RunState(state) for state in self.found.get("state", ())),
            schedules=tuple(self.found.get("schedule", ())),
            workers=tuple(self.found.get("worker", ())),
            queues=tuple(self.found.get("queue", ())),
            ids=tuple(self.found.get("id", ())),
            roots=tuple(self.found.get("root", ())),
            arguments=tuple(self.arguments),
            runtime=tuple(self.runtime),
            since=min(self.since) if self.since else None,
            words=tuple(words),
        )


def parse(text: str, **more: str) -> Search:
    """Read a search; `more` are terms from elsewhere in the address, by qualifier, empty ones left out.

    Raises Invalid at `q` with a sentence about the first term that it does not understand.
    """
    if len(text) > MAX_SEARCH_LENGTH:
        raise _invalid(f"A search has at most {MAX_SEARCH_LENGTH} characters.")
    if text.count('"') % 2:
        raise _invalid("A quote is not closed.")
    terms, words = _Terms(), []
    for term in _TERM.findall(text):
        named = None if term.startswith('"') else _NAMED.fullmatch(term)
        if named:
            terms.take(named[1] if named[1].startswith("args.") else named[1].lower(), named[2].replace('"', ""))
        elif word := term.replace('"', "").strip():
            words.append(word)
    for name, value in more.items():
        if value:
            terms.take(name, value)
    return terms.search(words)


def parse_duration(text: str, name: str = "runtime") -> float:
    """A length of time in seconds: "10s", "2h", "1.5m"; without a unit it is seconds. Raises Invalid at `q`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise _invalid(f"“{text}” is not a duration. Example: {_example(name)}.")
    return min(float(match[1]) * _UNITS[match[2] or "s"], _MAX_SECONDS)


def _parse_runtime(value: str) -> tuple[str, float]:
    match = _RUNTIME.fullmatch(value)
    if match is None:
        raise _invalid(f"“runtime:{value}” needs a comparison, for example {_example('runtime')}.")
    return match[1], parse_duration(match[2])


def _parse_state(value: str) -> str:
    try:
        return RunState(value.lower()).value
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
    """Ids of roots may be of any form: whoever sent the first message chose it."""
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
