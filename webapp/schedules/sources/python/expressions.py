"""Evaluates Python expressions without executing them.

Literals, names, arithmetic of numbers, concatenated texts and lists, merged dicts. Anything else becomes Unknown, with
its line and the reason.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery.schedules import crontab, schedule, solar

from webapp.schedules.sources.given import MAX_DEPTH, TOO_DEEP
from webapp.schedules.sources.python.values import (
    ALWAYS,
    REMOVED,
    Budget,
    Maker,
    Plain,
    Table,
    TaskPath,
    Unknown,
    Unreadable,
    Write,
    text_of,
    unread,
)

MAKERS: dict[str, Callable[..., Any]] = {
    "crontab": crontab,
    "crontab.from_string": crontab.from_string,
    "schedule": schedule,
    "solar": solar,
    "timedelta": timedelta,
    "ZoneInfo": str,
    "timezone": str,
}
_MODULES = ("celery.schedules", "schedules", "datetime", "datetime.timezone", "timezone", "pytz", "zoneinfo")
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
# Larger than any sensible number, and small enough for arithmetic.
MAX_NUMBER = 10**15
_MAX_LENGTH = 10_000  # of a concatenated text


def imported(path: str) -> Any:
    """The value of an imported name: a constructor of schedules, or a possible task."""
    module, _, name = path.rpartition(".")
    if name in MAKERS and module in _MODULES:
        return Maker(name)
    return "UTC" if name in ("utc", "UTC") and module in _MODULES else TaskPath(path)


class Expressions:
    """Evaluates expressions; `scopes` are those around the current statement, the innermost first."""

    def __init__(self) -> None:
        self.budget = Budget()
        self.scopes: list[Table] = [Table(self.budget, scope=True)]
        # Values of attributes of unknown objects, such as `app.conf.timezone`, by dotted name.
        self.paths = Table(self.budget, scope=True)
        self.when = ALWAYS
        self.depth = 0
        # Objects that unknown code may have changed, by identity.
        self.doubts: dict[int, tuple[Any, Unknown]] = {}
        self.seen: set[int] = set()
        self.plain_values = Plain(self.budget, self.doubts)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression. Raises Invalid if the file exceeds the budget."""
        self.budget.spend(1)
        self.seen.add(id(node))
        if self.depth >= MAX_DEPTH:
            return Unknown(TOO_DEEP, node.lineno)
        self.depth += 1
        try:
            return self._value(node)
        except Unreadable as error:
            return Unknown(str(error), error.line or node.lineno)
        finally:
            self.depth -= 1

    def plain(self, node: ast.expr) -> Any:
        """The value of an expression, of plain dicts and lists. Raises Unreadable."""
        return self.plain_values.value(self.value(node), self.when)

    def _value(self, node: ast.expr) -> Any:  # noqa: PLR0911  # one for each kind of expression
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return self._named(node)
            case ast.List() | ast.Tuple() | ast.Set():
                return self.list_of(node)
            case ast.Dict():
                return self._dict(node)
            case ast.UnaryOp(op=ast.USub()):
                return self.computed(node, 0, self.value(node.operand), ast.Sub())
            case ast.BinOp():
                return self.computed(node, self.value(node.left), self.value(node.right), node.op)
            case ast.JoinedStr():
                return self._joined(node)
            case ast.IfExp() if (truth := self.truth(node.test)) is not None:
                return self.value(node.body if truth else node.orelse)
            case ast.Call():
                return self.call(node)
        return self.unreadable(node)

    def unreadable(self, node: ast.AST) -> Unknown:
        """The Unknown of a node that cannot be evaluated. Everything that it mentions may be changed by it."""
        why = Unknown(unread(text_of(node)), getattr(node, "lineno", 1))
        for part in ast.walk(node):
            self.budget.spend(1)
            if isinstance(part, ast.Name):
                self._doubt(part, why)
        return why

    def bind(self, name: str, value: Any, line: int) -> None:
        """Assign a value to a name."""
        self.scopes[0].write(name, value, line, self.when)

    def _doubt(self, node: ast.Name, why: Unknown) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bind(node.id, why, node.lineno)
            return
        for value in self._lookup(node.id):
            self.doubt_value(value, why)

    def doubt_value(self, value: Any, why: Unknown) -> None:
        """Note that unknown code may change a dict or a list, or any that a value may be."""
        self.budget.spend(1)
        if isinstance(value, Table | list):
            self.doubts[id(value)] = (value, why)
        elif isinstance(value, Unknown):
            for write in value.writes:
                self.doubt_value(write.value, why)

    def truth(self, node: ast.expr) -> bool | None:
        """Whether a condition is true; None if that is only known when the code runs."""
        parts = [*ast.walk(node)]
        if any(isinstance(part, ast.Call | ast.NamedExpr) for part in parts):
            self.unreadable(node)
        self.seen |= {id(part) for part in parts}
        match node:
            case ast.Constant():
                return bool(node.value)
            case ast.UnaryOp(op=ast.Not()):
                inner = self.truth(node.operand)
                return None if inner is None else not inner
            case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
                return False
            case ast.Name():
                value = self._named(node)
                return value if isinstance(value, bool) else None
        return None

    def _constant(self, node: ast.Constant) -> Any:
        if isinstance(node.value, bytes | complex) or node.value is ...:
            return self.unreadable(node)
        if isinstance(node.value, int) and node.value.bit_length() > 1000:
            return Unknown("A number here is too large", node.lineno)
        return node.value

    def _lookup(self, name: str) -> list[Any]:
        """The possible values of a name: several if branches differ."""
        for scope in self.scopes:
            if writes := scope.possible(name, self.when):
                return [write.value for write in writes]
        return []

    def dotted(self, node: ast.expr) -> str:
        """The dotted name of an expression: `app.conf.beat_schedule`, also for `conf["beat_schedule"]`; "" if none."""
        match node:
            case ast.Name(id=name):
                found = self._lookup(name)
                path = found[0].path if found and isinstance(found[0], Unknown | TaskPath) else ""
                return path or name
            case ast.Attribute(value=base, attr=name) | ast.Subscript(value=base, slice=ast.Constant(value=str(name))):
                path = self.dotted(base)
                return f"{path}.{name}" if path else ""
        return ""

    def _named(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            found = next((scope.read(node.id, self.when) for scope in self.scopes if node.id in scope.slots), REMOVED)
            return self._default(node, node.id) if found is REMOVED else found
        assert isinstance(node, ast.Attribute | ast.Subscript)  # noqa: S101  # as the caller matched
        base = self.value(node.value)
        name = node.attr if isinstance(node, ast.Attribute) else self.key_of(node.slice)
        if isinstance(base, Table | list):
            found = self.part_of(base, name)
        else:
            found = self.paths.read(self.dotted(node), self.when)
        if found is not REMOVED:
            return found
        if isinstance(base, TaskPath) and name == "name":
            return replace(base, is_name=True)
        if isinstance(base, TaskPath) and isinstance(name, str) and not base.named:
            return imported(f"{base.path}.{name}")
        if isinstance(base, Maker) and f"{base.name}.{name}" in MAKERS:
            return Maker(f"{base.name}.{name}")
        return self._default(node, name)

    def part_of(self, base: Table | list[Any], key: Any) -> Any:
        """The value of a key in a dict or an index in a list; REMOVED if there is none."""
        if isinstance(base, Table):
            return REMOVED if isinstance(key, Unknown) else base.read(key, self.when)
        return base[key] if isinstance(key, int) and -len(base) <= key < len(base) else REMOVED

    def _default(self, node: ast.expr, name: Any) -> Any:
        """The value of a name that the source does not define, as in a pasted part of a file."""
        path = self.dotted(node)
        if isinstance(known := imported(path if "." in path else f"celery.schedules.{name}"), Maker | str):
            return known
        return Unknown(unread(text_of(node)), node.lineno, path)

    def list_of(self, node: ast.List | ast.Tuple | ast.Set) -> Any:
        """The list of the values of its elements."""
        made: list[Any] = []
        for part in node.elts:
            if isinstance(part, ast.Starred):
                inner = self.value(part.value)
                if not isinstance(inner, list):
                    return self.unreadable(part)
                self.budget.spend(len(inner))
                made += inner
                self.note_copy(inner, made)
            else:
                made.append(self.value(part))
        return made

    def _dict(self, node: ast.Dict) -> Table:
        made = Table(self.budget, node.lineno)
        for key, value in zip(node.keys, node.values, strict=True):
            self.put(made, key, value)
        return made

    def put(self, table: Table, key: ast.expr | None, node: ast.expr) -> None:
        """Write one pair of a dict; without a key all pairs of another dict, as `**` does."""
        value = self.value(node)
        if key is not None:
            table.write(self.key_of(key), value, key.lineno)
        elif (
            tables := [Write(value, 0)]
            if isinstance(value, Table)
            else value.tables()
            if isinstance(value, Unknown)
            else []
        ):
            for write in tables:
                table.add_all(write.value, when=write.when)
                self.note_copy(write.value, table)
        else:
            why = value if isinstance(value, Unknown) else self.unreadable(node)
            table.write(why, why, node.lineno)

    def key_of(self, node: ast.expr) -> Any:
        """The key of a dict; Unknown if it cannot be evaluated."""
        key = self.value(node)
        return key if isinstance(key, str | int | float | Unknown) or key is None else self.unreadable(node)

    def note_copy(self, source: Any, copy: Any) -> None:
        """Link a copy to its source, and copy the source's doubt."""
        if isinstance(source, Table) and isinstance(copy, Table):
            copy.sources.append(source)
        if id(source) in self.doubts:
            self.doubts[id(copy)] = (copy, self.doubts[id(source)][1])

    def computed(self, node: ast.expr | ast.stmt, left: Any, right: Any, act: ast.operator) -> Any:
        """The result of an operator on numbers, durations, texts, lists or dicts."""
        for value in (left, right):
            if isinstance(value, Unknown):
                return value.copied()
        if (combined := self._combined(node, left, right, act)) is not None:
            return combined
        if type(act) not in _OPERATORS or not (_is_number(left) and _is_number(right)):
            return Unknown(f"“{text_of(node)}” is not a sum or product of numbers", node.lineno)
        try:
            return _OPERATORS[type(act)](left, right)
        except (TypeError, ArithmeticError) as error:
            return Unknown(str(error), node.lineno)

    def _combined(self, node: ast.expr | ast.stmt, left: Any, right: Any, act: ast.operator) -> Any:
        """Two dicts merged, or two lists or texts concatenated; None for anything else."""
        if isinstance(act, ast.BitOr) and isinstance(left, Table) and isinstance(right, Table):
            return self.merged(left, right)
        if isinstance(act, ast.Add) and isinstance(left, list) and isinstance(right, list):
            return self._concatenated(left, right)
        if isinstance(act, ast.Add) and isinstance(left, str) and isinstance(right, str):
            return self._limited(left + right, node)
        return None

    def merged(self, *tables: Table) -> Table:
        """A new table with the entries of all of them."""
        made = Table(self.budget, tables[0].line)
        for table in tables:
            made.add_all(table)
            self.note_copy(table, made)
        return made

    def _concatenated(self, *lists: list[Any]) -> list[Any]:
        made: list[Any] = []
        for one in lists:
            self.budget.spend(len(one))
            made += one
            self.note_copy(one, made)
        return made

    def _limited(self, text: str, node: ast.expr | ast.stmt) -> Any:
        return text if len(text) <= _MAX_LENGTH else Unknown("A text here is too long", node.lineno)

    def _joined(self, node: ast.JoinedStr) -> Any:
        """The value of an f-string whose parts are texts and integers."""
        parts = [self._interpolated(part) for part in node.values]
        texts = [part for part in parts if part is not None]
        return self._limited("".join(texts), node) if len(texts) == len(parts) else self.unreadable(node)

    def _interpolated(self, part: ast.expr) -> str | None:
        if isinstance(part, ast.FormattedValue):
            if part.format_spec is not None or part.conversion != -1:
                return None
            part = part.value
        value = self.value(part)
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None

    def call(self, node: ast.Call) -> Any:
        """The value of a call."""
        return self.unreadable(node)


def name_of(node: ast.expr) -> str:
    """The last part of a name: `crontab` of `celery.schedules.crontab`; "" for other expressions."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return False
    return isinstance(value, timedelta) or abs(value) <= MAX_NUMBER
