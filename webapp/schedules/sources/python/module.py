"""Evaluates a Python module without executing it, to find the settings of Celery that it defines.

Statements are followed in order, the bodies of functions last. Where it is unknown which branch runs, both are kept. A
loop is not followed, but noted where it may change something.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Sequence

from webapp.schedules.sources.python.changes import DECORATOR, SCHEDULES, Changes, is_mention
from webapp.schedules.sources.python.expressions import imported, name_of
from webapp.schedules.sources.python.values import REMOVED, Branch, Table, TaskPath, Unknown, When, text_of, unread

_SIGNALS = ("connect", "connect_via")

Body = Sequence[ast.stmt]


class Module(Changes):
    """The values that a module defines, and what could not be read."""

    def __init__(self, tree: ast.Module) -> None:
        super().__init__()
        self._functions: deque[tuple[ast.FunctionDef | ast.AsyncFunctionDef, list[Table], When]] = deque()
        self._run(tree.body)
        while self._functions:
            self._function_body(*self._functions.popleft())
        for part in ast.walk(tree):
            if is_mention(part) and id(part) not in self.seen:
                self.unreadable(part)

    def _run(self, body: Body, *branches: Branch) -> None:
        before, self.when = self.when, self.when | frozenset(branches)
        for statement in body:
            self.budget.spend(1)
            if method := _STATEMENTS.get(type(statement)):
                getattr(self, method)(statement)
        self.when = before

    def _assignment(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value, node.lineno)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.assign(node.target, self.value(node.value), node.lineno)

    def _deleted(self, node: ast.Delete) -> None:
        for target in node.targets:
            self.assign(target, REMOVED, node.lineno)

    def _expression(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Dict) and len(self.scopes) == 1:  # a schedule that was pasted
            self.store(self.scopes[0], SCHEDULES[0], self.value(node.value), node.lineno)
        else:
            self.value(node.value.value if isinstance(node.value, ast.Await) else node.value)

    def _returned(self, node: ast.Return) -> None:
        if node.value is not None:
            self.value(node.value)

    # Branches

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        before, self.when = (
            self.when,
            self.when
            | {
                Branch(
                    id(node), 0, f"the loop of line {node.lineno} runs", f"the loop of line {node.lineno} does not run"
                )
            },
        )
        self.unreadable(node)
        self.when = before

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            value = self.value(item.context_expr)
            if (target := item.optional_vars) is not None:
                self.assign(target, value if isinstance(value, Unknown) else self.unreadable(target), target.lineno)
        self._run(node.body)

    def _if(self, node: ast.If) -> None:
        statement, number, first = id(node), 0, node.lineno
        otherwise: list[Branch] = []
        while True:
            truth, test, line = self.truth(node.test), text_of(node.test), node.test.lineno
            holds, fails = f"“{test}” holds (line {line})", f"“{test}” does not hold (line {line})"
            if truth is None:
                alone = not otherwise and not isinstance(node.orelse[0] if node.orelse else None, ast.If)
                self._run(node.body, Branch(statement, number, holds, fails if alone else ""))
                number += 1
                if otherwise:
                    fails = f"no condition from line {first} to {line} holds"
                otherwise = [Branch(statement, -number, fails, holds if alone else "")]
            elif truth:
                self._run(node.body, *otherwise)
                self._skip(node.orelse, holds)
                return
            else:
                self._skip(node.body, fails)
            match node.orelse:
                case [ast.If() as inner]:
                    node = inner
                case _:
                    break
        self._run(node.orelse, *otherwise)

    def _skip(self, body: Body, condition: str) -> None:
        parts = [part for statement in body for part in ast.walk(statement)]
        self.seen |= {id(part) for part in parts}
        lines = dict.fromkeys(getattr(part, "lineno", 1) for part in parts if is_mention(part))
        self.unused += [Unknown(f"It is never used, because {condition}.", line) for line in lines]

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        self._run(node.body)
        for handler in node.handlers:
            if handler.name:
                self.store(self.scopes[0], handler.name, Unknown(unread(handler.name), handler.lineno), handler.lineno)
            self._run(
                handler.body,
                Branch(
                    id(handler),
                    0,
                    f"the error of line {handler.lineno} happens",
                    f"the error of line {handler.lineno} does not happen",
                ),
            )
        self._run(node.orelse)
        self._run(node.finalbody)

    def _match(self, node: ast.Match) -> None:
        self.truth(node.subject)
        for number, case in enumerate(node.cases):
            condition = f"“case {text_of(case.pattern)}” matches (line {case.pattern.lineno})"
            branch = Branch(id(node), number, condition)
            for part in ast.walk(case.pattern):
                if name := getattr(part, "name", None) or getattr(part, "rest", None):
                    line = case.pattern.lineno
                    self.scopes[0].write(name, Unknown(unread(name), line), line, self.when | {branch})
            self._run(case.body, branch)

    # Definitions

    def _function_definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        path, connected = f".{node.name}", False
        for decorator in node.decorator_list:
            made = decorator.func if isinstance(decorator, ast.Call) else decorator
            connected = connected or name_of(made) in _SIGNALS
            if name_of(made) == DECORATOR:
                self.unreadable(decorator)
            elif isinstance(decorator, ast.Call):
                self.value(decorator.func)
                given = [self.value(part.value) for part in decorator.keywords if part.arg == "name"]
                path = str(given[0]) if given and isinstance(given[0], str) else path
        self.store(self.scopes[0], node.name, TaskPath(path, named=not path.startswith(".")), node.lineno)
        called = Branch(
            id(node),
            0,
            f"“{node.name}” is called (line {node.lineno})",
            f"“{node.name}” is not called (line {node.lineno})",
        )
        self._functions.append((node, [*self.scopes], self.when if connected else self.when | {called}))

    def _function_body(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scopes: list[Table], when: When) -> None:
        inner = Table(self.budget, node.lineno, scope=True)
        self.scopes, self.when = [inner, *scopes], when
        for part in ast.walk(node.args):
            if isinstance(part, ast.arg):
                self.bind(part.arg, Unknown(unread(part.arg), part.lineno, part.arg), part.lineno)
        self._run(node.body)

    def _class(self, node: ast.ClassDef) -> None:
        made = Table(self.budget, node.lineno, scope=True)
        for base in node.bases:
            value = self.value(base)
            if isinstance(value, Table):
                made.add_all(value)
                self.settings |= {(made, key): None for key in value.slots if (value, key) in self.settings}
        outer = self.scopes
        self.scopes = [made, *outer]
        self._run(node.body)
        self.scopes = outer
        self.store(outer[0], node.name, made, node.lineno)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = f"{'.' * node.level}{node.module or ''}" if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(Unknown(text_of(node), node.lineno))
                continue
            path = f"{module}{'' if module.endswith('.') or not module else '.'}{alias.name}"
            name = alias.asname or alias.name.partition(".")[0]
            value = imported(path if alias.asname or module else name)
            if name == "timezone":  # a module or a class of that name, and not a setting
                self.bind(name, value, node.lineno)
            else:
                self.store(self.scopes[0], name, value, node.lineno)


_STATEMENTS: dict[type[ast.stmt], str] = {
    ast.Assign: "_assignment",
    ast.AnnAssign: "_annotated",
    ast.AugAssign: "augment",
    ast.Delete: "_deleted",
    ast.Expr: "_expression",
    ast.Return: "_returned",
    ast.If: "_if",
    ast.For: "_loop",
    ast.AsyncFor: "_loop",
    ast.While: "_loop",
    ast.With: "_with",
    ast.AsyncWith: "_with",
    ast.Try: "_try",
    ast.TryStar: "_try",
    ast.Match: "_match",
    ast.FunctionDef: "_function_definition",
    ast.AsyncFunctionDef: "_function_definition",
    ast.ClassDef: "_class",
    ast.Import: "_import",
    ast.ImportFrom: "_import",
}
