"""Recognises secret arguments and masks them where they are shown.

An argument is secret when its name, or the name of a value within it, says so (see `names`), or is one that the task
names itself: `@shared_task(secrets=("iban",))`. Names of arguments given by position come from the task's signature. Of
a text that has a secret in it, such as the password of an address, that part is masked (see `text`).

Nothing here opens sealed text, which is treated as text; `rows` opens that of our own tables.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from beatdesk.secrecy.names import is_secret
from beatdesk.secrecy.sealing import has_key, seal, unseal
from beatdesk.secrecy.text import MASK, hide, is_suspicious

# A shorter secret is not masked within other text: it would be found in unrelated words.
MIN_LENGTH_IN_TEXT = 4
# The context for which the call of a run is sealed.
RUN = "run"
# The fields that name the value beside them: {"name": "DB_PASSWORD", "value": …}.
_NAMES_OF_VALUE = ("name", "Name", "key", "Key")
# Instead of True or False for a list: it is a pair of a name and its value.
_PAIR = 2


def masked(text: str) -> str:
    """JSON text with its secrets masked at any depth; other text with the secrets that its form reveals masked."""
    if not is_suspicious(text):
        return text
    try:
        return json.dumps(masked_value(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return hide(text)


def masked_value(value: Any) -> Any:
    """The same for a JSON value; one that is nested too deep to be checked becomes a mask."""
    try:
        return walk(NAMES_ONLY, value, False, (), _masked_leaf)
    except RecursionError:
        return MASK


def _masked_leaf(value: Any, hidden: int, _place: tuple[Any, ...]) -> Any:
    if hidden:
        return value if is_blank(value) else MASK
    return hide(value) if isinstance(value, str) else value


def is_blank(value: Any) -> bool:
    """Whether a value cannot be a secret, whatever its name is."""
    # Compared as text only: an array of numbers has no truth.
    return value is None or isinstance(value, bool) or (isinstance(value, str) and not value)


@dataclass(frozen=True, slots=True)
class Rule:
    """The secret names of a task, the names of its arguments by position, and the name of further ones."""

    names: frozenset[str] = frozenset()
    positions: tuple[str, ...] = ()
    further: str = ""
    # Whether the text of the arguments alone decides if there is a secret, not the task's own names or positions.
    by_words_alone: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compute once what every call needs."""
        alone = not self.names and not any(map(self.hides, (*self.positions, self.further)))
        object.__setattr__(self, "by_words_alone", alone)

    def hides(self, name: str) -> bool:
        """Whether a value of that name is secret."""
        return name in self.names or is_secret(name)

    def name_of(self, position: int) -> str:
        """The name of an argument given by position."""
        if position < len(self.positions):
            return self.positions[position]
        return self.further or f"argument {position + 1}"

    def hides_position(self, position: int) -> bool:
        """Whether an argument given by position is secret."""
        return self.hides(self.positions[position] if position < len(self.positions) else self.further)

    def concerns(self, text: str) -> bool:
        """Whether arguments with this JSON text may have a secret; quick enough for thousands of them."""
        # Without a string in them they have neither a name nor a sealed value.
        return not self.by_words_alone or ('"' in text and is_suspicious(text))


@lru_cache(maxsize=4096)
def rule_of(task: Any) -> Rule:
    """The rule of a Celery task; without a task the one of names only."""
    if task is None:
        return NAMES_ONLY
    positions, further = [], ""
    try:
        parameters = inspect.signature(task.run).parameters
    except (ValueError, TypeError):
        # A function that does not say what its arguments are called.
        return Rule(names_of(task))
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positions.append(name)
        elif parameter.kind == parameter.VAR_POSITIONAL:
            further = name
    return Rule(names_of(task), tuple(positions), further)


def names_of(task: Any) -> frozenset[str]:
    """The arguments that a task itself names as secret."""
    own = getattr(task, "secrets", None) or ()
    return frozenset([own] if isinstance(own, str) else own)


def parts(rule: Rule, value: Any, hidden: int) -> Iterator[tuple[Any, Any, int]] | None:
    """The parts of an object or a list: name or index, value, and whether it is secret. None for other values."""
    if isinstance(value, Mapping):
        return _parts_of_object(rule, value, hidden)
    if not isinstance(value, list | tuple):
        return None
    if hidden == _PAIR:
        return iter([(0, value[0], False), (1, value[1], rule.hides(value[0]))])
    inner = hidden or (_PAIR if _are_pairs(value) else False)
    return ((place, part, inner) for place, part in enumerate(value))


def _parts_of_object(rule: Rule, value: Mapping[Any, Any], hidden: int) -> Iterator[tuple[Any, Any, int]]:
    named = ("value" in value or "Value" in value) and any(
        isinstance(name := value.get(each), str) and rule.hides(name) for each in _NAMES_OF_VALUE
    )
    for name, inner in value.items():
        yield name, inner, hidden or rule.hides(str(name)) or (named and name in ("value", "Value"))


def _are_pairs(value: Sequence[Any]) -> bool:
    """Whether it is a list of pairs, such as the headers of a message: `[["Authorization", "…"], …]`."""
    return bool(value) and all(
        isinstance(each, list | tuple) and len(each) == 2 and isinstance(each[0], str) for each in value
    )


# By this rule the general names alone decide what is secret.
NAMES_ONLY = Rule()
_LEAVES = frozenset({str, int, float, bool, type(None)})
Leaf = Callable[[Any, int, tuple[Any, ...]], Any]


def walk(rule: Rule, value: Any, hidden: int, place: tuple[Any, ...], leaf: Leaf) -> Any:
    """The value with each leaf replaced by the result of `leaf(value, hidden, place)`."""
    # Nearly every value is one of these, and the check for a mapping takes longer than all the rest.
    found = None if type(value) in _LEAVES else parts(rule, value, hidden)
    if found is None:
        return leaf(value, hidden, place)
    made = [(name, walk(rule, inner, secret, (*place, name), leaf)) for name, inner, secret in found]
    return dict(made) if isinstance(value, Mapping) else [each for _, each in made]


def walk_call(
    rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any], leaf: Leaf
) -> tuple[list[Any], dict[str, Any]]:
    """The same for the arguments of a call; places begin with `args` or `kwargs`."""
    return (
        [walk(rule, value, rule.hides_position(at), ("args", at), leaf) for at, value in enumerate(args)],
        {name: walk(rule, value, rule.hides(str(name)), ("kwargs", name), leaf) for name, value in kwargs.items()},
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A value that was sealed, and is secret whatever its name is."""

    content: Any


@dataclass
class Concealed:
    """A call with its secrets masked in `args` and `kwargs`; `plain` is the call to be executed.

    `secrets` are the masked values, `any` is whether there are some, `blank` whether a mask was in the place of one.
    """

    args: list[Any]
    kwargs: dict[str, Any]
    plain: tuple[list[Any], dict[str, Any]]
    secrets: list[Any] = field(default_factory=list)
    any: bool = False
    blank: bool = False

    def sealed(self) -> str | None:
        """The whole call, sealed, to be kept beside the masked one; None if it has no secrets, or there is no key."""
        return seal(json.dumps(self.plain, default=repr), RUN) if self.any and has_key() else None

    def _leaf(self, value: Any, hidden: int, place: tuple[Any, ...]) -> Any:
        if isinstance(value, str) and not hidden:
            return self._text(value)
        if isinstance(value, Opened):
            return self._opened(value.content, place)
        if not hidden or is_blank(value):
            return value
        if isinstance(value, str) and value == MASK:
            self.blank = True
            return value
        self.any = True
        self.secrets.append(value)
        return MASK

    def _text(self, value: str) -> str:
        shown = hide(value, self.secrets)
        if shown != value:
            self.any = True
        elif MASK in value and has_mask(value):
            self.blank = True
        return shown

    def _opened(self, content: Any, place: tuple[Any, ...]) -> Any:
        self.any = True
        if isinstance(content, str) and (shown := self._text(content)) != content:
            return shown
        return walk(NAMES_ONLY, content, True, place, self._leaf)

    @cached_property
    def texts(self) -> frozenset[str]:
        """The secrets in all spellings that may appear in other text."""
        plain = {str(value) for value in self.secrets}
        return frozenset(spelt for text in plain if len(text) >= MIN_LENGTH_IN_TEXT for spelt in _spellings(text))


def _spellings(text: str) -> set[str]:
    """A text as it is, in a URL, in JSON, in a `repr`, or in one within the other; mostly all the same."""
    found = {text}
    for _ in range(2):
        in_json = {json.dumps(known, ensure_ascii=escaped)[1:-1] for known in found for escaped in (True, False)}
        # Which quotes are escaped in a `repr` depends on the quotes in the rest of it.
        in_repr = {spelt for known in found for spelt in (repr(known)[1:-1], repr(f"{known}'\"")[1:-4])}
        found |= in_json | in_repr
    in_urls = {quote(text, safe=safe, errors="backslashreplace") for safe in ("/", "")}
    return found | in_urls | {quote_plus(text, errors="backslashreplace")}


def has_mask(text: str) -> bool:
    """Whether a mask is in the place of a secret within a text, such as the password of a URL."""
    filled = text.replace(MASK, "x0x0x0x0")
    return hide(filled) != filled


def conceal(rule: Rule, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Concealed:
    """Find and mask the secrets of a call."""
    found = Concealed([], {}, (list(args), dict(kwargs)))
    found.args, found.kwargs = walk_call(rule, args, kwargs, found._leaf)  # noqa: SLF001  # `conceal` is its constructor
    return found


def call_of(row: Any) -> tuple[list[Any], dict[str, Any]]:
    """The original arguments of a row with `args`, `kwargs` and `sealed`. Raises Unopenable."""
    if row.sealed is not None:
        args, kwargs = json.loads(unseal(row.sealed, RUN))
        return args, kwargs
    return json.loads(row.args), json.loads(row.kwargs)


def holds_mask(call: tuple[list[Any], dict[str, Any]]) -> bool:
    """Whether a call has a mask in the place of an argument, or of a part of one."""
    found: list[bool] = []
    walk(NAMES_ONLY, list(call), False, (), lambda value, _hidden, _place: found.append(value == MASK))
    return any(found)


def without(texts: frozenset[str], text: str) -> str:
    """A text with all of these secrets masked, the longest first."""
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
