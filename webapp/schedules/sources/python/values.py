"""The values of evaluated Python source: tables with the writes of each branch, and values that are unknown."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from webapp.schedules.sources.given import MAX_DEPTH, MAX_ENTRIES, TOO_DEEP, refuse
from webapp.web import installed

MAX_TEXT_LENGTH = 80  # characters of source in a message
# A schedule with all fields takes about a hundred steps.
MAX_STEPS = 120 * MAX_ENTRIES
MAX_LINES = 5  # line numbers in a message
SIMPLE = (str, int, float, timedelta, type(None))


RUN_IT = f"{installed.command('schedules import')} --beat-schedule module:attribute runs it"


def unread(text: str) -> str:
    """The message for a part of the source whose value is only known when it runs."""
    return f"“{text}” cannot be read without running it; {RUN_IT}"


def text_of(node: ast.AST) -> str:
    """The beginning of a node's source, on one line."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        return "this"
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH].rstrip(' .')}…"


class Unreadable(ValueError):
    """A value in the source that is only known when it runs; `line` is where."""

    def __init__(self, line: int, why: str) -> None:
        self.line = line
        super().__init__(why)


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """A value that is only known when the source runs.

    `path` is its dotted name in the source; `writes` are its possible values, the latest first.
    """

    why: str
    line: int
    path: str = ""
    writes: tuple[Write, ...] = ()

    def copied(self) -> Unknown:
        """The unknown value of a copy, which has no name and no possible values."""
        return replace(self, path="", writes=())

    def tables(self) -> list[Write]:
        """The tables that it may be, the earliest first; empty if it may be anything else."""
        only = all(isinstance(write.value, Table) for write in self.writes)
        return [*reversed(self.writes)] if only else []


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """A constructor of schedules such as `crontab`, under any name."""

    name: str


@dataclass(frozen=True, slots=True)
class TaskPath:
    """A possible task: `shop.tasks.send` if it is imported, `.send` if its module is unknown.

    `named` if its decorator has this name; `is_name` for the name itself, `send.name`.
    """

    path: str
    named: bool = False
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a statement, which may not run.

    `number` is its position in the statement; the last branch, which runs if no condition is true, has the negative
    number of branches before it. `condition` is when it runs, in words; `otherwise_condition` when it does not, if that
    is one other branch, with number -1 for 0 and 0 for -1.
    """

    statement: int
    number: int
    condition: str
    otherwise_condition: str = ""

    def otherwise(self) -> Branch:
        """The opposite branch. For a statement with more than two branches, it stands for all others together."""
        if self.otherwise_condition:
            return Branch(self.statement, -1 - self.number, self.otherwise_condition, self.condition)
        return Branch(hash((self.statement, self.number)), 0, f"it is not so that {self.condition}")


When = frozenset[Branch]
ALWAYS: When = frozenset()
REMOVED = object()


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A write of a value, with its line and branches, and the lines of the values that it replaced."""

    value: Any
    line: int
    when: When = ALWAYS
    replaced: tuple[int, ...] = ()


class Budget:
    """The remaining steps for a file. A name that repeats something costs as much as what it repeats."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, count: int) -> None:
        """Use up steps. Raises Invalid if none are left."""
        self.left -= count
        if self.left < 0:
            raise refuse(f"Reading this takes more than {MAX_STEPS:,} steps. Import it in parts.")


class Table:
    """A dict, the attributes of a class or the names of a scope: the writes to each key, in order.

    A write in a branch does not replace earlier ones, since it is unknown whether the branch runs.
    """

    def __init__(self, budget: Budget, line: int = 0, *, scope: bool = False) -> None:
        self.budget = budget
        self.line = line
        self.scope = scope
        self.slots: dict[Any, list[Write]] = {}
        self.sources: list[Table] = []

    def write(self, key: Any, value: Any, line: int, when: When = ALWAYS) -> list[Write]:
        """Write a value; gives the writes that it replaces."""
        if len(when) > 1 and _excluded(when, when):
            return []  # copied from one branch of a statement in another branch of it, which never both run
        old = self.slots.get(key, [])
        self.budget.spend(1 + len(old))
        if not old:
            self.slots[key] = [Write(value, line, when)]
            return []
        gone = [write for write in old if when <= write.when]
        lines = tuple(line for write in gone for line in (*write.replaced, write.line))[-3:]
        self.slots[key] = [*(write for write in old if not when <= write.when), Write(value, line, when, lines)]
        return gone

    def write_default(self, key: Any, value: Any, line: int, when: When) -> None:
        """Write a value where the key has none."""
        self.budget.spend(1 + len(self.slots.get(key, [])))
        if not self.surely_has(key, when):
            writes = self.slots.setdefault(key, [])
            # Before the writes of branches, and after a removal.
            removed = [place for place, write in enumerate(writes, 1) if write.when <= when]
            writes.insert(max(removed, default=0), Write(value, line, when))

    def surely_has(self, key: Any, when: When) -> bool:
        """Whether a key certainly has a value in a branch."""
        sure = [write for write in self.slots.get(key, []) if write.when <= when]
        return bool(sure) and sure[-1].value is not REMOVED

    def add_all(self, other: Table, when: When = ALWAYS) -> None:
        """Write everything that another table has."""
        for key, write in other.items():
            self.write(key, write.value, write.line, when | write.when)

    def items(self) -> list[tuple[Any, Write]]:
        """All writes with their keys, except for keys that were removed."""
        kept = {key: writes for key, writes in self.slots.items() if any(one.value is not REMOVED for one in writes)}
        return [(key, write) for key, writes in kept.items() for write in writes]

    def possible(self, key: Any, when: When = ALWAYS) -> list[Write]:
        """The writes that may be in effect in a branch, the latest first."""
        found: list[Write] = []
        writes = self.slots.get(key, [])
        self.budget.spend(1 + len(writes))
        later: list[tuple[When, Branch]] = []  # none of which runs
        for write in reversed(writes):
            self.budget.spend(len(later))
            whole = write.when | {denied for one, denied in later if not _excluded(one, write.when)}
            if _excluded(write.when, when) or _excluded(whole, whole):
                continue
            found.append(replace(write, when=whole))
            if write.when <= when:
                break
            later.append((write.when, _otherwise(write.when - when)))
        return found

    def read(self, key: Any, when: When = ALWAYS) -> Any:
        """The value of a key in a branch; Unknown if branches differ, REMOVED if it has none."""
        writes = self.possible(key, when)
        if not writes:
            return REMOVED
        if all(_same(write.value, writes[0].value) for write in writes):
            return writes[0].value
        lines = join_lines({write.line for write in writes})
        why = f"“{key!s:.80}” has different values in {lines}, depending on whether {conditions(writes[:1])}"
        return Unknown(why, writes[0].line, writes=tuple(writes))


def complete(whens: Collection[When]) -> bool:
    """Whether one of these places certainly runs, because they include all branches of a statement."""
    numbers: dict[int, set[int]] = {}
    for when in whens:
        for branch in when if len(when) == 1 else ():
            numbers.setdefault(branch.statement, set()).add(branch.number)
    return not all(whens) or any(min(one) < 0 and one >= {*range(-min(one))} for one in numbers.values())


def conditions(writes: Sequence[Write]) -> str:
    """The conditions of these writes, in words."""
    whens = dict.fromkeys(write.when for write in writes if write.when)
    return " or ".join([" and ".join(sorted(branch.condition for branch in when)) for when in whens][:2])


def join_lines(numbers: set[int]) -> str:
    """Line numbers in words, such as “lines 3, 5 and 9”."""
    first, *rest = [str(number) for number in sorted(numbers)]
    if not rest:
        return f"line {first}"
    if len(rest) > MAX_LINES:
        return f"lines {', '.join([first, *rest[:MAX_LINES]])} and {len(rest) - MAX_LINES} more"
    return f"lines {', '.join([first, *rest[:-1]])} and {rest[-1]}"


def _excluded(one: When, other: When) -> bool:
    """Whether two places never both run, because they are in different branches of one statement."""
    return any(a.statement == b.statement and a.number != b.number for a in one for b in other)


def _otherwise(when: When) -> Branch:
    """The branch that runs if not all of these do."""
    if len(when) == 1:
        return next(iter(when)).otherwise()
    return Branch(hash(when), 0, f"it is not so that {' and '.join(sorted(branch.condition for branch in when))}")


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, SIMPLE) and type(one) is type(other) and one == other)


class Plain:
    """Converts values of the source into plain Python values, within the budget."""

    def __init__(self, budget: Budget, doubts: Mapping[int, tuple[Any, Unknown]]) -> None:
        self.budget = budget
        self.doubts = doubts

    def value(self, value: Any, when: When = ALWAYS, depth: int = 0) -> Any:
        """The plain value in a branch. Raises Unreadable, or Invalid if it exceeds the budget."""
        self.budget.spend(1)
        if isinstance(value, Unknown):
            raise Unreadable(value.line, value.why)
        if isinstance(value, TaskPath | Maker):
            raise Unreadable(0, unread(value.path if isinstance(value, TaskPath) else value.name))
        if id(value) in self.doubts:
            doubt = self.doubts[id(value)][1]
            raise Unreadable(doubt.line, doubt.why)
        if depth > MAX_DEPTH:
            raise Unreadable(0, TOO_DEEP)
        if isinstance(value, Table):
            return {key: self.value(part, when, depth + 1) for key, part in self._parts(value, when)}
        return [self.value(part, when, depth + 1) for part in value] if isinstance(value, list) else value

    def _parts(self, table: Table, when: When) -> Iterator[tuple[Any, Any]]:
        for key in table.slots:
            if isinstance(key, Unknown):
                raise Unreadable(key.line, key.why)
            value = table.read(key, when)
            if value is not REMOVED:
                yield key, value
