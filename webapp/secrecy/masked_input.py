"""Reads arguments that come from outside: a mask in them means "unchanged", and sealed text is refused.

Pages and programs get `•••` in the place of a secret. Sent back for the same task at the same argument, it stands for
the value of the schedule or run, which never leaves the server. Everywhere else a mask is refused, and so is text that
looks sealed, which is never opened for a user.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beatdesk.secrecy.masking import Concealed, Rule, has_mask, is_blank, parts
from beatdesk.secrecy.sealing import FIRST_VERSION, Unopenable, looks_sealed, version_of
from beatdesk.secrecy.text import MASK, SEALED, hide
from webapp.secrecy.rows import open_value

# In the place of a typed secret, where a form is shown again.
FORGOTTEN = f"{MASK} type it again"
_ABSENT = object()
# The key of the list of further arguments by position, among the names of arguments.
_REST = object()
# The masked value, and the value itself.
_Kept = tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in an argument: `field` is `args` or `kwargs`, `name` the argument's."""

    field: str
    name: str
    text: str


class Refused(ValueError):
    """Some arguments are refused."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__(" ".join(fault.text for fault in faults))

    def by_field(self) -> dict[str, str]:
        """The errors of `args` and of `kwargs`."""
        found: dict[str, str] = {}
        for fault in self.faults:
            found[fault.field] = " ".join(filter(None, (found.get(fault.field), fault.text)))
        return found

    def by_argument(self, prefix: str) -> dict[str, str]:
        """The error of each argument, by its name with a prefix."""
        return {prefix + fault.name: fault.text for fault in self.faults}


@dataclass(slots=True)
class Input:
    """A reader of arguments from outside; of sealed ones it opens the versions in `opens`, as for rows and exports.

    `kept` is the call of the schedule or run that was shown, None if there is none or it has another task.
    """

    rule: Rule
    task: str
    kept: Concealed | None = None
    opens: Collection[str] = ()
    faults: list[Fault] = field(default_factory=list)

    def read(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments with masks replaced; one that was sealed is `Opened`. Raises Refused."""
        self.faults = []
        shown, plain = self._by_name(masked=True), self._by_name(masked=False)
        count = len(self.rule.positions)

        def kept(name: str) -> _Kept:
            return shown.get(name, _ABSENT), plain.get(name, _ABSENT)

        first = [
            self._value(value, kept(name), self.rule.hides(name), ("args", at))
            for at, (name, value) in enumerate(zip(self.rule.positions, args, strict=False))
        ]
        hides_rest = self.rule.hides_position(count)
        rest = self._list(args[count:], (shown[_REST], plain[_REST]), hides_rest, ("args",), count)
        by_name = {
            name: self._value(value, kept(str(name)), self.rule.hides(str(name)), ("kwargs", name))
            for name, value in kwargs.items()
        }
        if self.faults:
            raise Refused(self.faults)
        return [*first, *rest], by_name

    def _by_name(self, *, masked: bool) -> dict[Any, Any]:
        """The kept values by the names of their arguments; further ones by position are one list."""
        if self.kept is None:
            return {_REST: []}
        args, kwargs = (self.kept.args, self.kept.kwargs) if masked else self.kept.plain
        return {
            _REST: args[len(self.rule.positions) :],
            **dict(zip(self.rule.positions, args, strict=False)),
            **kwargs,
        }

    def _value(self, given: Any, kept: _Kept, hidden: int, place: tuple[Any, ...]) -> Any:
        if isinstance(given, str):
            return self._text(given, kept, hidden, place)
        if isinstance(given, list | tuple) and hidden in (True, False):
            return self._list(given, kept, hidden, place)
        found = parts(self.rule, given, hidden)
        if found is None:
            return given
        made = [
            (name, self._value(inner, (_part(kept[0], name), _part(kept[1], name)), secret, (*place, name)))
            for name, inner, secret in found
        ]
        return dict(made) if isinstance(given, Mapping) else [each for _, each in made]

    def _list(  # as for a value, and where it begins
        self, given: Sequence[Any], kept: _Kept, hidden: int, place: tuple[Any, ...], begin: int = 0
    ) -> list[Any]:
        """The parts of a list may be reordered or deleted: a part is matched by its masked form."""
        alike = _alike(given, kept)
        return [
            self._value(part, alike[at], secret, (*place, begin + at))
            for at, part, secret in parts(self.rule, given, hidden) or ()
        ]

    def _text(self, given: str, kept: _Kept, hidden: int, place: tuple[Any, ...]) -> Any:
        shown, plain = kept
        if plain is not _ABSENT and given != plain and (given == shown or (hidden and given == MASK)):
            return plain
        if looks_sealed(given):
            return self._sealed(given, hidden, place)
        if given == FORGOTTEN:
            self._refuse(place, "is not sent back by the server: type it again.")
        elif MASK in given and (hidden or has_mask(given)):
            self._refuse(place, f"is secret and masked ({MASK}): type it again.")
        return given

    def _sealed(self, given: str, hidden: int, place: tuple[Any, ...]) -> Any:
        version = version_of(given.removeprefix(SEALED))
        if version in self.opens:
            try:
                return open_value(self.task, given, hidden, place)
            except Unopenable:
                why = "was sealed with another SECRET_KEY, for another task or argument, or altered"
                self._refuse(place, f"{why}, and cannot be opened here: give its value.")
        elif self.opens and version == FIRST_VERSION:
            self._refuse(place, "was sealed by an earlier version of Beatdesk: export it again, or give its value.")
        else:
            self._refuse(place, "is a sealed text, which is not opened here: give its value.")
        return given

    def _refuse(self, place: tuple[Any, ...], text: str) -> None:
        part, name = place[0], place[1]
        name = self.rule.name_of(name) if part == "args" else str(name)
        self.faults.append(Fault(part, name, f"“{name}” {text}"))


def forget(value: Any, hidden: int, _place: tuple[Any, ...]) -> Any:
    """A typed value for a form that is shown again; a secret has to be typed once more. For `walk`."""
    if hidden:
        return value if is_blank(value) or value == MASK else FORGOTTEN
    return FORGOTTEN if isinstance(value, str) and hide(value) != value else value


def _part(value: Any, name: Any) -> Any:
    """A part of a kept value, or `_ABSENT`."""
    if isinstance(value, Mapping):
        return value.get(name, _ABSENT)
    is_place = isinstance(name, int) and isinstance(value, list | tuple) and name < len(value)
    return value[name] if is_place else _ABSENT


def _alike(given: Sequence[Any], kept: _Kept) -> list[_Kept]:
    """For each part of a list, the kept part with the same masked form: at its position, else the only such one."""
    shown, plain = kept
    if not isinstance(shown, list | tuple) or not isinstance(plain, list | tuple):
        return [(_ABSENT, _ABSENT)] * len(given)
    by_look: dict[str, dict[str, int]] = {}
    looks = [_json(part) for part in shown]
    for place, look in enumerate(looks):
        by_look.setdefault(look, {})[_json(plain[place])] = place
    found: list[_Kept] = []
    for at, look in enumerate(map(_json, given)):
        places = list(by_look.get(look, {}).values())
        if len(looks) == len(given) and looks[at] == look:
            places = [at]
        found.append((shown[places[0]], plain[places[0]]) if len(places) == 1 else (_ABSENT, _ABSENT))
    return found


def _json(value: Any) -> str:
    return json.dumps(value, default=repr, sort_keys=True)
