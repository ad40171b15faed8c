"""Follows assignments and calls in Python source that change names, attributes, dicts and Celery's settings."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

from webapp.schedules.sources.python.calls import Calls
from webapp.schedules.sources.python.expressions import name_of
from webapp.schedules.sources.python.values import (
    ALWAYS,
    REMOVED,
    RUN_IT,
    Table,
    TaskPath,
    Unknown,
    When,
    Write,
    text_of,
    unread,
)

SCHEDULES = ("beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
PERIODIC = "add_periodic_task"
DECORATOR = "periodic_task"  # of versions before 5
_PARAMETERS = ("schedule", "sig", "args", "kwargs", "name")


def is_schedule(key: Any) -> bool:
    """Whether a name, attribute or key is one of Celery's names for its schedule."""
    return isinstance(key, str) and key.rpartition(".")[2] in SCHEDULES


def is_mention(node: ast.AST) -> bool:
    """Whether a node of the source mentions a schedule by name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=name) | ast.Constant(value=str(name)):
            return name in SCHEDULES or name in (PERIODIC, DECORATOR)
    return False


class Changes(Calls):
    """Tracks all writes. `schedules` has the place of each schedule, as a table and its key."""

    def __init__(self) -> None:
        super().__init__()
        self.schedules: list[tuple[Table, Any]] = []
        # The places of all values in scopes and configurations.
        self.settings: dict[tuple[Table, str], None] = {}
        self.periodic = Table(self.budget)
        # Schedules that were replaced by another one, with the line.
        self.replaced: list[tuple[Table, int]] = []
        # Dicts of settings that were copied into a configuration, whose values apply since.
        self.applied: set[Table] = set()
        # Imports of settings from outside of the file.
        self.imports: list[Unknown] = []
        self.stars: list[Unknown] = []
        self.unread: list[Unknown] = []
        # Code that is never executed.
        self.unused: list[Unknown] = []

    def assign(self, target: ast.expr, value: Any, line: int) -> None:
        """Assign to a name, an attribute, an item or several of them."""
        self.seen.add(id(target))
        match target:
            case ast.Name(id=name):
                self.store(self.scopes[0], name, value, line)
            case ast.Attribute() | ast.Subscript():
                self._assign_part(target, value, line)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                fits = isinstance(value, list) and len(value) == len(parts)
                for number, part in enumerate(parts):
                    self.assign(part, value[number] if fits else Unknown(unread(text_of(target)), line), line)
            case _:
                self.unreadable(target)

    def _assign_part(self, target: ast.Attribute | ast.Subscript, value: Any, line: int) -> None:
        key = target.attr if isinstance(target, ast.Attribute) else self.key_of(target.slice)
        for write in (tables := self._tables(target.value)):
            self.store(write.value, key, value, line, write.when)
        if not tables and (path := self.dotted(target)):
            self.store(self.paths, path, value, line)
        elif not tables:
            self.unreadable(target)

    def store(self, table: Table, key: Any, value: Any, line: int, when: When = ALWAYS) -> None:
        """Write the value of a key in a table; it may be a setting."""
        if is_schedule(key) and isinstance(value, Unknown) and (tables := value.tables()):
            for write in tables:
                self.store(table, key, write.value, line, when | write.when)
            return
        if is_schedule(key):
            if not isinstance(value, Table) and value is not None and value is not REMOVED:
                value = self._unread_schedule(value, line)
            self.schedules.append((table, key))
        elif isinstance(key, str) and table.scope:
            self.settings[table, key] = None
        gone = table.write(key, value, line, self.when | when)
        if is_schedule(key):
            self.replaced += [(one.value, line) for one in gone if isinstance(one.value, Table)]

    def _unread_schedule(self, value: Any, line: int) -> Table:
        """A schedule whose present entries cannot be read; entries added later can."""
        if isinstance(value, TaskPath):
            value = Unknown(unread(value.path), line)
        why = value if isinstance(value, Unknown) else Unknown("Use a dict of entries here", line)
        made = Table(self.budget, line)
        made.write(why, why, line)
        return made

    def bind(self, name: str, value: Any, line: int) -> None:
        """Assign to a name a value that is not a setting."""
        if is_schedule(name):
            self.store(self.scopes[0], name, value, line)
        else:
            self.scopes[0].write(name, value, line, self.when)

    def unreadable(self, node: ast.AST) -> Unknown:
        """The Unknown of a node that cannot be evaluated; reported separately if it mentions a schedule."""
        why = super().unreadable(node)
        parts = [*ast.walk(node)]
        if any(is_mention(part) and id(part) not in self.seen for part in parts):
            self.unread.append(why)
            self.seen |= {id(part) for part in parts}
        return why

    def put(self, table: Table, key: ast.expr | None, node: ast.expr) -> None:
        """Write one pair of a dict, which may be a schedule beside other settings."""
        super().put(table, key, node)
        if isinstance(key, ast.Constant) and is_schedule(key.value):
            self.schedules.append((table, key.value))

    def _tables(self, node: ast.expr) -> list[Write]:
        """The tables that an expression may be, one for each branch; a missing schedule is created."""
        self.seen.add(id(node))
        match node:
            case ast.Name(id=name):
                holder = next((scope for scope in self.scopes if name in scope.slots), self.scopes[0])
                return self._or_made(holder.possible(name, self.when), holder, name, node)
            case ast.Attribute() | ast.Subscript():
                key = node.attr if isinstance(node, ast.Attribute) else self.key_of(node.slice)
                holders = self._tables(node.value)
                inner = [
                    Write(write.value, write.line, write.when | holder.when)
                    for holder in holders
                    for write in holder.value.possible(key, self.when)
                ]
                path = self.dotted(node)
                found = inner if holders else self.paths.possible(path, self.when)
                return self._or_made(found, self.paths, path, node)
        value = self.value(node)
        return [Write(value, node.lineno)] if isinstance(value, Table) else []

    def _or_made(self, found: list[Write], holder: Table, key: str, node: ast.expr) -> list[Write]:
        if not found and is_schedule(key):
            self.store(holder, key, Table(self.budget, node.lineno), node.lineno)
            self.unread += [Unknown(f"“{one.why}” may have more of “{key}”; {RUN_IT}", one.line) for one in self.stars]
            found = holder.possible(key, self.when)
        tables = [write for write in found if isinstance(write.value, Table)]
        for write in found:
            if isinstance(write.value, Unknown):
                tables += [replace(one, when=one.when | write.when) for one in write.value.tables()]
        return tables

    def augment(self, node: ast.AugAssign) -> None:
        """Follow `+=`, `|=` and so on."""
        tables = self._tables(node.target) if isinstance(node.op, ast.BitOr) else []
        value = self.value(node.value)
        if tables:
            self._add_to(tables, value if isinstance(value, Table | Unknown) else self.unreadable(node), node.lineno)
            return
        before = self.value(node.target)
        if not isinstance(before, Table):  # a list, which other names may have too
            self.doubt_value(before, Unknown(unread(text_of(node)), node.lineno))
        self.assign(node.target, self.computed(node, before, value, node.op), node.lineno)

    def call(self, node: ast.Call) -> Any:
        """The value of a call; calls that create or change a schedule are followed."""
        name = name_of(node.func)
        if isinstance(node.func, ast.Attribute):
            match name:
                case "add_periodic_task":
                    self.seen.add(id(node.func))
                    return self._add_periodic(node)
                case "update" | "add_defaults":
                    return self._update(node, node.func.value)
                case "pop" if node.args and (tables := self._tables(node.func.value)):
                    for write in tables:
                        self.store(write.value, self.key_of(node.args[0]), REMOVED, node.lineno, write.when)
                    return Unknown(unread(text_of(node)), node.lineno)
        if name == "Celery":
            self._settings(self.keywords(ast.Call(node.func, [], node.keywords, lineno=node.lineno)), name, node)
        if name == "config_from_object":
            self._configured(node)
        return super().call(node)

    def _update(self, node: ast.Call, target: ast.expr) -> Any:
        """`{…}.update(…)`, and `app.conf.update(…)`, which changes settings."""
        given = self.keywords(node)
        if tables := self._tables(target):
            self._add_to(tables, given, node.lineno)
        elif path := self.dotted(target):
            self._settings(given, path, node)
        return None

    def _add_to(self, tables: list[Write], given: Any, line: int) -> None:
        for write in tables:
            if not isinstance(given, Table):
                write.value.write(given, given, line, self.when | write.when)
                continue
            for key, value in given.items():
                self.store(write.value, key, value.value, value.line, value.when | write.when)
            self.note_copy(given, write.value)

    def _settings(self, given: Any, path: str, node: ast.Call) -> None:
        """Write settings into a configuration; note those that cannot be read."""
        left = [given] if isinstance(given, Table) else []
        while left:
            self.budget.spend(1)
            if (table := left.pop()) not in self.applied:
                self.applied.add(table)
                left += table.sources
        for key, write in given.items() if isinstance(given, Table) else [(given, None)]:
            if isinstance(key, Unknown):
                self._more_settings(path, key.line, node)
            elif write is not None:
                self.store(self.paths, f"{path}.{key}", write.value, write.line, write.when)

    def _more_settings(self, path: str, line: int, node: ast.Call) -> None:
        if path.rpartition(".")[2] in ("conf", "config", "Celery"):
            why = f"“{text_of(node)}” takes settings from elsewhere, which are not read here; {RUN_IT}."
            self.imports.append(Unknown(why, line))

    def _configured(self, node: ast.Call) -> None:
        value = self.value(node.args[0]) if node.args else None
        if not isinstance(value, Table):
            self._more_settings("conf", node.lineno, node)
        elif not value.scope:
            self._settings(value, "conf", node)

    def _add_periodic(self, node: ast.Call) -> None:
        """`app.add_periodic_task(schedule, signature, args, kwargs, name, **options)` as an entry of a schedule."""
        entry, options = Table(self.budget, node.lineno), Table(self.budget, node.lineno)
        given = [*zip(_PARAMETERS, node.args, strict=False), *((part.arg, part.value) for part in node.keywords)]
        starred = any(isinstance(part, ast.Starred) or name is None for name, part in given)
        if starred or len(node.args) > len(_PARAMETERS):
            why = self.unreadable(node)
            self.periodic.write(why, why, node.lineno, self.when)
            return
        for name, part in given:
            (entry if name in _PARAMETERS else options).write(name, self.value(part), part.lineno)
        entry.write("options", options, node.lineno)
        named = entry.read("name")
        if named in (REMOVED, None):
            named = (node.lineno, node.col_offset)  # unique until its task is known
        key = named if isinstance(named, str | tuple | Unknown) else self.unreadable(node)
        self.periodic.write(key, entry, node.lineno, self.when)
