"""Evaluates calls in Python source without executing them: constructors of schedules, copies, and task signatures."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery.canvas import Signature

from webapp.schedules.sources.given import MAX_DEPTH, TOO_DEEP
from webapp.schedules.sources.python.expressions import MAKERS, MAX_NUMBER, Expressions, name_of
from webapp.schedules.sources.python.values import REMOVED, Maker, Table, TaskPath, Unknown, Unreadable, text_of, unread

_COPIES = ("list", "tuple", "set", "frozenset")
_SIGNATURES = ("s", "si", "signature", "subtask")
# Calls that do not change their arguments.
_HARMLESS = {"print", "len", "config_from_object", "autodiscover_tasks", "Celery", "info", "debug", "warning"}


class Calls(Expressions):
    """Evaluates expressions with calls."""

    def call(self, node: ast.Call) -> Any:
        """The value of a call."""
        found = self._method(node)
        if found is NotImplemented:
            found = self._function(node)
        if found is not NotImplemented:
            return found
        for part in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(part, ast.Dict) or (isinstance(part, ast.Call) and name_of(part.func) == "dict"):
                self.value(part)  # which may be a configuration
        if name_of(node.func) in _HARMLESS:
            self.seen |= {id(part) for part in ast.walk(node)}
            return Unknown(unread(text_of(node)), node.lineno)
        return self.unreadable(node)

    def _function(self, node: ast.Call) -> Any:
        name = name_of(node.func)
        if name in ("copy", "deepcopy") and len(node.args) == 1:
            return self._copied(self.value(node.args[0]), deep=name == "deepcopy")
        if isinstance(node.func, ast.Name) and (name in _COPIES or name in ("dict", "range")):
            return self._built_in(name, node)
        if name in (*_SIGNATURES, "Signature") and node.args:
            return self._signature(name, self.value(node.args[0]), node.args[1:], node)
        maker = self.value(node.func)
        return self._made(maker, node) if isinstance(maker, Maker) else NotImplemented

    def _built_in(self, name: str, node: ast.Call) -> Any:
        if name == "dict":
            return self.keywords(node)
        if name == "range":
            return self._range(node)
        inner = self.value(node.args[0]) if node.args else []
        return self._copied(inner) if isinstance(inner, list) else NotImplemented

    def keywords(self, node: ast.Call) -> Any:
        """The value of `dict(first, a=1, **more)`."""
        first = self.value(node.args[0]) if node.args else None
        if not (first is None or isinstance(first, Table)) or len(node.args) > 1:
            return self.unreadable(node)
        made = self.merged(first) if first else Table(self.budget, node.lineno)
        for part in node.keywords:
            self.seen.add(id(part))
            key = None if part.arg is None else ast.Constant(part.arg, lineno=part.value.lineno)
            self.put(made, key, part.value)
        return made

    def _copied(self, value: Any, *, deep: bool = False, depth: int = 0) -> Any:
        if not isinstance(value, Table | list):
            return value.copied() if isinstance(value, Unknown) else value
        if depth > MAX_DEPTH:
            return Unknown(TOO_DEEP, 0)
        if isinstance(value, list):
            self.budget.spend(1 + len(value))
            copy: Any = [self._copied(part, deep=True, depth=depth + 1) if deep else part for part in value]
        else:
            copy = self.merged(value)
            for writes in copy.slots.values() if deep else ():
                writes[:] = [replace(one, value=self._copied(one.value, deep=True, depth=depth + 1)) for one in writes]
        self.note_copy(value, copy)
        return copy

    def _range(self, node: ast.Call) -> Any:
        args = [self.plain(part) for part in node.args]
        if node.keywords or not args or not all(isinstance(part, int) and abs(part) <= MAX_NUMBER for part in args):
            return NotImplemented
        try:
            numbers = range(*args)
        except (TypeError, ValueError) as error:
            raise Unreadable(node.lineno, f"range: {error}") from error
        self.budget.spend(len(numbers))
        return [*numbers]

    def _made(self, maker: Maker, node: ast.Call) -> Any:
        args, named = self.arguments(node, node.args)
        try:
            return MAKERS[maker.name](*args, **named)
        except Exception as error:  # Celery raises errors of any kind about invalid arguments
            raise Unreadable(node.lineno, f"{maker.name}: {error}") from error

    def arguments(self, node: ast.Call, args: list[ast.expr]) -> tuple[list[Any], dict[str, Any]]:
        """Plain arguments of a call. Raises Unreadable."""
        named = self.keywords(ast.Call(node.func, [], node.keywords, lineno=node.lineno))
        found = self.list_of(ast.List(args))
        return self.plain_values.value(found, self.when), self.plain_values.value(named, self.when)

    def _method(self, node: ast.Call) -> Any:
        """A method of a dict, a length of time, a task or a signature; NotImplemented for any other."""
        if not isinstance(node.func, ast.Attribute):
            return NotImplemented
        name, base = node.func.attr, self.value(node.func.value)
        if isinstance(base, timedelta) and name == "total_seconds":
            return base.total_seconds()
        if isinstance(base, Table):
            return self._of_table(base, name, node)
        if isinstance(base, Signature) and name in ("set", "clone"):
            args, named = self.arguments(node, node.args)
            return getattr(base.clone(), name)(*args, **named)
        return self._task_method(base, name, node.func.value, node)

    def _task_method(self, base: Any, name: str, task: ast.expr, node: ast.Call) -> Any:
        path = base.path if isinstance(base, TaskPath) else f".{self.dotted(task)}"
        if name not in _SIGNATURES or not isinstance(base, TaskPath | Unknown) or path == ".":
            return NotImplemented
        if name in ("signature", "subtask") and node.args and isinstance(self.value(node.args[0]), str):
            return NotImplemented  # which is `app.signature("shop.send", …)`
        return self._signature(name, base if isinstance(base, TaskPath) else TaskPath(path), node.args, node)

    def _of_table(self, table: Table, name: str, node: ast.Call) -> Any:
        if name == "copy":
            return self.merged(table)
        if name in ("get", "setdefault") and 1 <= len(node.args) <= 2 and not node.keywords:
            key = self.key_of(node.args[0])
            default = self.value(node.args[1]) if len(node.args) > 1 else None
            if name == "setdefault":
                table.write_default(key, default, node.lineno, self.when)
            found = self.part_of(table, key)
            if found is REMOVED:
                return default
            return found if table.surely_has(key, self.when) else NotImplemented
        return NotImplemented

    def _signature(self, name: str, task: Any, args: list[ast.expr], node: ast.Call) -> Any:
        """A task with its arguments, as `task.s(…)`, `task.signature(args, kwargs)` or `signature(name, …)`."""
        given, named = self.arguments(node, args)
        if not isinstance(task, TaskPath | str):
            return NotImplemented
        if name in ("s", "si"):
            return Signature(task, given, named, immutable=name == "si")
        try:
            return Signature(task, *given, **named)
        except (TypeError, ValueError) as error:
            raise Unreadable(node.lineno, f"{name}: {error}") from error
