"""Which arguments are secret, and what stands in their place.

An argument is secret when its name, or the name of a value within it, has one of `WORDS` in it, or is one that the task
names itself: `@shared_task(secrets=("pin",))`. Names of arguments given by position come from the task's signature. A
value that is sealed already (see `seal_within`) is secret wherever it stands.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from webapp.secrecy.sealing import Unopenable, seal, unseal

WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "credential", "private_key")
MASK = "•••"
# Before a sealed value within arguments.
SEALED = "sealed:"
# A shorter secret cannot be masked within other text: it would be found in words that have nothing to do with it.
SHORTEST_IN_TEXT = 4

# What has none of these in it, in lower case, has no secret, unless the task names some itself. A pattern that ignores
# case takes several times as long.
_SUSPECT = re.compile("|".join((*WORDS, SEALED)))


def is_secret(name: str) -> bool:
    """Whether a name says that its value should not be seen."""
    lower = name.lower()
    return any(word in lower for word in WORDS)


def is_concealed(value: Any) -> bool:
    """Whether something stands in the place of a secret: the mask, or the secret sealed."""
    return isinstance(value, str) and (value == MASK or value.startswith(SEALED))


def masked(text: str) -> str:
    """JSON text with the values of secret names masked, however deep they lie; what is not JSON as it is."""
    if not _SUSPECT.search(text.lower()):
        return text
    try:
        return json.dumps(masked_value(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def masked_value(value: Any) -> Any:
    """The same for a value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): MASK if is_secret(str(name)) else masked_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_value(inner) for inner in value]
    return MASK if isinstance(value, str) and value.startswith(SEALED) else value


@dataclass(frozen=True, slots=True)
class Rule:
    """What is secret of a task: names of its own; for each argument by position its name; the name of further ones."""

    names: frozenset[str] = frozenset()
    positions: tuple[str, ...] = ()
    further: str = ""
    # Whether secrets can be told by the text of the arguments: nothing else about the task makes one.
    by_words_alone: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Settle once what is asked for each call."""
        alone = not self.names and not any(map(self.hides, (*self.positions, self.further)))
        object.__setattr__(self, "by_words_alone", alone)

    def hides(self, name: str) -> bool:
        """Whether a value of that name is secret."""
        return name in self.names or is_secret(name)

    def name_of(self, position: int) -> str:
        """What an argument given by position is called."""
        if position < len(self.positions):
            return self.positions[position]
        return self.further or f"argument {position + 1}"

    def hides_position(self, position: int) -> bool:
        """Whether an argument given by position is secret."""
        return self.hides(self.positions[position] if position < len(self.positions) else self.further)

    def concerns(self, text: str) -> bool:
        """Whether arguments of this JSON text may have a secret; quick, for thousands of them."""
        # Without a text in them they have neither a name nor a sealed value.
        return not self.by_words_alone or ('"' in text and _SUSPECT.search(text.lower()) is not None)


@lru_cache(maxsize=4096)
def rule_of(task: Any) -> Rule:
    """The rule of a Celery task; without a task that of the words alone."""
    if task is None:
        return Rule()
    own = getattr(task, "secrets", None) or ()
    positions, further = [], ""
    for name, parameter in inspect.signature(task.run).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positions.append(name)
        elif parameter.kind == parameter.VAR_POSITIONAL:
            further = name
    return Rule(frozenset([own] if isinstance(own, str) else own), tuple(positions), further)


@dataclass
class Concealed:
    """A call without its secrets: `args` and `kwargs` are masked, `plain` is what is to be executed.

    `secrets` are the values that were masked, `any` says whether there were some; `blank` that a mask stood
    in the place of one.
    """

    args: list[Any]
    kwargs: dict[str, Any]
    plain: tuple[list[Any], dict[str, Any]]
    secrets: list[Any] = field(default_factory=list)
    any: bool = False
    blank: bool = False

    def sealed(self) -> str | None:
        """The call as it is kept beside the masked one; None when nothing of it is secret."""
        return seal(json.dumps(self.plain, default=repr)) if self.any else None

    @cached_property
    def texts(self) -> frozenset[str]:
        """The secrets in the spellings in which they may appear in other text."""
        plain = {str(value) for value in self.secrets}
        return frozenset(spelt for text in plain if len(text) >= SHORTEST_IN_TEXT for spelt in _spellings(text))


def _spellings(text: str) -> set[str]:
    """As it is, in an address, and in JSON, in a `repr`, or in one within the other. Mostly these are all the same."""
    found = {text}
    for _ in range(2):
        found |= {spelt for known in found for spelt in (*_in_json(known), *_in_repr(known))}
    return (
        found
        | {quote(text, safe=safe, errors="backslashreplace") for safe in ("/", "")}
        | {quote_plus(text, errors="backslashreplace")}
    )


def _in_json(text: str) -> tuple[str, str]:
    return json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]


def _in_repr(text: str) -> tuple[str, str]:
    # Which quotes are escaped depends on those that stand around it.
    return repr(text)[1:-1], repr(f"{text}'\"")[1:-4]


def conceal(rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Concealed:
    """Find the secrets of a call. Raises Unopenable when it has a sealed value that cannot be opened."""
    found = Concealed([], {}, ([], {}))
    for position, value in enumerate(args):
        shown, plain = _split(rule, value, rule.hides_position(position), found)
        found.args.append(shown)
        found.plain[0].append(plain)
    for name, value in kwargs.items():
        found.kwargs[name], found.plain[1][name] = _split(rule, value, rule.hides(str(name)), found)
    return found


def refusal(rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Why a call cannot be taken whose secrets were masked, or sealed elsewhere; None when it can."""
    try:
        blank = conceal(rule, args, kwargs).blank
    except Unopenable as error:
        return f"It could not be executed: {error}. Type the secret arguments again."
    return f"A secret argument is masked ({MASK}): type it again." if blank else None


def refusals(rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
    """The same for the two fields `args` and `kwargs`, with the arguments at fault by name; empty when none is."""
    by_field = {
        "args": [_fault(rule.name_of(place), rule, [*[None] * place, value], {}) for place, value in enumerate(args)],
        "kwargs": [_fault(str(name), rule, [], {name: value}) for name, value in kwargs.items()],
    }
    return {field: " ".join(filter(None, faults)) for field, faults in by_field.items() if any(faults)}


def _fault(name: str, rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    try:
        blank = conceal(rule, args, kwargs).blank
    except Unopenable:
        return f"“{name}” was sealed with another SECRET_KEY, or altered, and cannot be opened here: give its value."
    return f"“{name}” is secret and masked ({MASK}): give its value." if blank else ""


def sealed_places(args: Any, kwargs: Any) -> list[str]:
    """Where sealed values stand within a call, such as `args[1]` or `kwargs.user.token`."""
    return [*_sealed_in("args", args), *_sealed_in("kwargs", kwargs)]


def _sealed_in(place: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [found for name, inner in value.items() for found in _sealed_in(f"{place}.{name}", inner)]
    if isinstance(value, list | tuple):
        return [found for number, inner in enumerate(value) for found in _sealed_in(f"{place}[{number}]", inner)]
    return [place] if isinstance(value, str) and value.startswith(SEALED) else []


def _split(rule: Rule, value: Any, hidden: bool, found: Concealed) -> tuple[Any, Any]:  # one for each kind
    """The value as it is shown, and as it is executed."""
    if isinstance(value, Mapping):
        pairs = {
            name: _split(rule, inner, hidden or rule.hides(str(name)), found) for name, inner in value.items()
        }  # fmt: skip
        return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
    if isinstance(value, list | tuple):
        parts = [_split(rule, inner, hidden, found) for inner in value]
        return [part[0] for part in parts], [part[1] for part in parts]
    if isinstance(value, str) and value.startswith(SEALED):
        opened = json.loads(unseal(value.removeprefix(SEALED)))
        found.any = True
        _note(opened, found)
        return MASK, opened
    if not hidden or value is None or value == "" or isinstance(value, bool):
        return value, value
    if value == MASK:
        found.blank = True
        return value, value
    found.any = True
    found.secrets.append(value)
    return MASK, value


def _note(value: Any, found: Concealed) -> None:
    """Everything within a value that was sealed is secret."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            _note(inner, found)
    elif value is not None and value != "":
        found.secrets.append(value)


def seal_within(
    rule: Rule,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    former: tuple[Sequence[Any], Mapping[str, Any]] = ((), {}),
) -> tuple[list[Any], dict[str, Any]]:
    """The call with each secret value sealed in its place, for a table that has no other place for it.

    What is sealed already stays as it is, and so does what `former`, the call before, has sealed for the same value:
    to give a secret again is no change.
    """
    before_args, before_kwargs = former
    by_position = [
        _sealed(rule, value, rule.hides_position(position), _within(before_args, position))
        for position, value in enumerate(args)
    ]
    by_name = {
        name: _sealed(rule, value, rule.hides(str(name)), _within(before_kwargs, name))
        for name, value in kwargs.items()
    }
    return by_position, by_name


def _within(former: Any, place: Any) -> Any:
    """What stood at a place before; None when nothing did."""
    if isinstance(former, Mapping):
        return former.get(place)
    there = isinstance(former, list | tuple) and isinstance(place, int) and place < len(former)
    return former[place] if there else None


def _sealed(rule: Rule, value: Any, hidden: bool, former: Any) -> Any:
    if hidden:
        kept = value is None or value == "" or isinstance(value, bool) or value in ([], {}, MASK)
        if kept or (isinstance(value, str) and value.startswith(SEALED)):
            return value
        return former if _holds(former, value) else SEALED + seal(json.dumps(value))
    if isinstance(value, Mapping):
        return {
            name: _sealed(rule, inner, rule.hides(str(name)), _within(former, name)) for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_sealed(rule, inner, hidden, _within(former, place)) for place, inner in enumerate(value)]
    return value


def _holds(sealed: Any, value: Any) -> bool:
    """Whether a sealed text is that of a value."""
    if not isinstance(sealed, str) or not sealed.startswith(SEALED):
        return False
    try:
        return unseal(sealed.removeprefix(SEALED)) == json.dumps(value)
    except Unopenable:
        return False


def call_of(row: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments to execute of a row that has `args`, `kwargs` and `sealed`. Raises Unopenable."""
    if row.sealed is not None:
        args, kwargs = json.loads(unseal(row.sealed))
        return args, kwargs
    return json.loads(row.args), json.loads(row.kwargs)


def without(texts: frozenset[str], text: str) -> str:
    """A text with all of these masked, the longest first."""
    for secret in sorted(texts, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def value_without(texts: frozenset[str], value: Any) -> Any:
    """The same for every text within a value."""
    if isinstance(value, str):
        return without(texts, value)
    if isinstance(value, Mapping):
        return {name: value_without(texts, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [value_without(texts, inner) for inner in value]
    return MASK if isinstance(value, int | float) and str(value) in texts else value
