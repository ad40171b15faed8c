"""What Python source says, as values: tables that keep what each branch wrote, and what only running it would tell."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from webapp.schedules.sources.given import MAX_DEPTH, MAX_ENTRIES, TOO_DEEP, refuse

MAX_TEXT_LENGTH = 80  # characters of source that a message repeats
# A schedule with everything takes about a hundred.
MAX_STEPS = 120 * MAX_ENTRIES
MAX_LINES = 5  # that a message names
SIMPLE = (str, int, float, timedelta, type(None))


RUN_IT = "flask schedules import --beat-schedule module:attribute runs it"


def unread(text: str) -> str:
    """The words for a part of the source whose value only running it would tell."""
    return f"“{text}” cannot be read without running it; {RUN_IT}"


def text_of(node: ast.AST) -> str:
    """The beginning of a node's source, in one line."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        return "this"
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH].rstrip(' .')}…"


class Unreadable(ValueError):
    """Something in the source that only running it would tell; `line` is where."""

    def __init__(self, line: int, why: str) -> None:
        self.line = line
        super().__init__(why)


@dataclass(frozen=True, slots=True, eq=False)
class Unknown:
    """A value that only running the source would tell.

    `path` is the dotted name by which the source calls it; `writes` has what it may be, the latest first.
    """

    why: str
    line: int
    path: str = ""
    writes: tuple[Write, ...] = ()

    def copied(self) -> Unknown:
        """What is made from it, which is none of what it may be."""
        return replace(self, path="", writes=())

    def tables(self) -> list[Write]:
        """The tables that it may be, the earliest first, if it can be nothing else."""
        only = all(isinstance(write.value, Table) for write in self.writes)
        return [*reversed(self.writes)] if only else []


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """One of the things that a schedule is made with, such as `crontab`, by whatever name."""

    name: str


@dataclass(frozen=True, slots=True)
class TaskPath:
    """What may be a task: `shop.tasks.send` where it is imported, `.send` where its module is not known.

    `named` where its decorator gives that name; `is_name` for the name itself, `send.name`.
    """

    path: str
    named: bool = False
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class Branch:
    """A part of the source that may not run: which of a statement's branches, and when it does.

    The last one, where no condition before it holds, has as its number how many there are before it, negative. `denied`
    says when it does not run, where that is another branch, number -1 of 0 and 0 of -1.
    """

    statement: int
    number: int
    said: str
    denied: str = ""

    def otherwise(self) -> Branch:
        """When it does not run; branches of a statement that has more than two are not told apart."""
        if self.denied:
            return Branch(self.statement, -1 - self.number, self.denied, self.said)
        return Branch(hash((self.statement, self.number)), 0, f"it is not so that {self.said}")


When = frozenset[Branch]
ALWAYS: When = frozenset()
REMOVED = object()


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """A value that was written, on which line and in which branches, and the lines whose values it replaced."""

    value: Any
    line: int
    when: When = ALWAYS
    replaced: tuple[int, ...] = ()


class Budget:
    """How much may still be done for a file; a name that repeats something counts for as much as that."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, count: int) -> None:
        """Raises Invalid where it is too much."""
        self.left -= count
        if self.left < 0:
            raise refuse(f"Reading this takes more than {MAX_STEPS:,} steps. Import it in parts.")


class Table:
    """A dict, the attributes of a class or the names of a scope: what was written to each key, in order.

    Whatever a branch writes stands beside what was there before, since only running the source tells which counts.
    """

    def __init__(self, budget: Budget, line: int = 0, *, scope: bool = False) -> None:
        self.budget = budget
        self.line = line
        self.scope = scope
        self.slots: dict[Any, list[Write]] = {}
        self.sources: list[Table] = []

    def write(self, key: Any, value: Any, line: int, when: When = ALWAYS) -> list[Write]:
        """Give a key a value; gives the writes that no longer count."""
        if len(when) > 1 and _excluded(when, when):
            return []  # copied from one branch of a statement in another one, which never both run
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
        """Give a key a value where it has none."""
        self.budget.spend(1 + len(self.slots.get(key, [])))
        if not self.surely_has(key, when):
            writes = self.slots.setdefault(key, [])
            # Before what branches wrote, and after what took it out.
            removed = [place for place, write in enumerate(writes, 1) if write.when <= when]
            writes.insert(max(removed, default=0), Write(value, line, when))

    def surely_has(self, key: Any, when: When) -> bool:
        """Whether a key has a value in a branch, whatever else runs."""
        sure = [write for write in self.slots.get(key, []) if write.when <= when]
        return bool(sure) and sure[-1].value is not REMOVED

    def add_all(self, other: Table, when: When = ALWAYS) -> None:
        """Write everything that another table has."""
        for key, write in other.items():
            self.write(key, write.value, write.line, when | write.when)

    def items(self) -> list[tuple[Any, Write]]:
        """Every write there is, with its key, but for keys that were taken out."""
        kept = {key: writes for key, writes in self.slots.items() if any(one.value is not REMOVED for one in writes)}
        return [(key, write) for key, writes in kept.items() for write in writes]

    def possible(self, key: Any, when: When = ALWAYS) -> list[Write]:
        """The writes that may count in a branch, the latest first."""
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
        """The value of a key in a branch; Unknown where branches differ, REMOVED where it has none."""
        writes = self.possible(key, when)
        if not writes:
            return REMOVED
        if all(_same(write.value, writes[0].value) for write in writes):
            return writes[0].value
        lines = join_lines({write.line for write in writes})
        why = f"“{key!s:.80}” has different values in {lines}, depending on whether {said(writes[:1])}"
        return Unknown(why, writes[0].line, writes=tuple(writes))


def complete(whens: Collection[When]) -> bool:
    """Whether one of these places runs in any case: they are all the branches of a statement."""
    numbers: dict[int, set[int]] = {}
    for when in whens:
        for branch in when if len(when) == 1 else ():
            numbers.setdefault(branch.statement, set()).add(branch.number)
    return not all(whens) or any(min(one) < 0 and one >= {*range(-min(one))} for one in numbers.values())


def said(writes: Sequence[Write]) -> str:
    """On what it depends which of these count."""
    whens = dict.fromkeys(write.when for write in writes if write.when)
    return " or ".join([" and ".join(sorted(branch.said for branch in when)) for when in whens][:2])


def join_lines(numbers: set[int]) -> str:
    """The words for some lines, such as “lines 3, 5 and 9”."""
    first, *rest = [str(number) for number in sorted(numbers)]
    if not rest:
        return f"line {first}"
    if len(rest) > MAX_LINES:
        return f"lines {', '.join([first, *rest[:MAX_LINES]])} and {len(rest) - MAX_LINES} more"
    return f"lines {', '.join([first, *rest[:-1]])} and {rest[-1]}"


def _excluded(one: When, other: When) -> bool:
    """Whether two places can never both run: they are in different branches of one statement."""
    return any(a.statement == b.statement and a.number != b.number for a in one for b in other)


def _otherwise(when: When) -> Branch:
    """When these branches do not all run."""
    if len(when) == 1:
        return next(iter(when)).otherwise()
    return Branch(hash(when), 0, f"it is not so that {' and '.join(sorted(branch.said for branch in when))}")


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, SIMPLE) and type(one) is type(other) and one == other)


class Plain:
    """Turns values of the source into plain ones, within a budget: a few names can repeat each other without end."""

    def __init__(self, budget: Budget, doubts: Mapping[int, tuple[Any, Unknown]]) -> None:
        self.budget = budget
        self.doubts = doubts

    def value(self, value: Any, when: When = ALWAYS, depth: int = 0) -> Any:
        """Dicts, lists and what they are made of, as in a branch. Raises Unreadable, or Invalid for too much."""
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
