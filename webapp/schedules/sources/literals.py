"""Reads values out of Python source without running any of it.

Literals, names that were given literals above, sums and products of numbers, and calls of the four things that Celery's
`beat_schedule` is made of: `crontab`, `schedule`, `solar` and `timedelta`. Whatever else is there is refused by name.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from celery.schedules import crontab, schedule, solar

MAKERS: dict[str, Callable[..., Any]] = {
    "crontab": crontab,
    "schedule": schedule,
    "solar": solar,
    "timedelta": timedelta,
    "dict": dict,
    "list": list,
    "tuple": tuple,
    "set": set,
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# Larger than anything that is meant, and small enough to be computed with.
_MOST = 10**15


class Unreadable(ValueError):
    """Something in the source that only running it would tell; `line` is where."""

    def __init__(self, node: ast.AST, why: str) -> None:
        self.line: int = getattr(node, "lineno", 1)
        super().__init__(why)


def value_of(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression; `names` are those of constants. Raises Unreadable."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List() | ast.Tuple() | ast.Set():
            return [value_of(part, names) for part in node.elts]
        case ast.Dict():
            return _dict(node, names)
        case ast.UnaryOp(op=ast.USub()) | ast.BinOp():
            return _computed(node, names)
        case ast.Call():
            return _call(node, names)
    raise Unreadable(node, f"“{ast.unparse(node)[:80]}” cannot be read without running it; write its value")


def name_of(node: ast.expr) -> str:
    """The last part of a name: `crontab` of `celery.schedules.crontab`; "" for what is no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _dict(node: ast.Dict, names: Mapping[str, Any]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise Unreadable(value, "“**” cannot be read without running it; write the entries")
        try:
            made[value_of(key, names)] = value_of(value, names)
        except TypeError as error:
            raise Unreadable(key, str(error)) from error
    return made


def _computed(node: ast.UnaryOp | ast.BinOp, names: Mapping[str, Any]) -> Any:
    """A negative number, a sum, a product and so on, of numbers and lengths of time."""
    if isinstance(node, ast.UnaryOp):
        left, right, act = 0, value_of(node.operand, names), operator.sub
    else:
        left, right = value_of(node.left, names), value_of(node.right, names)
        act = _OPERATORS.get(type(node.op), operator.pow)
    if act is operator.pow or not (_is_number(left) and _is_number(right)):
        raise Unreadable(node, f"“{ast.unparse(node)[:80]}” is not a sum or product of numbers")
    try:
        return act(left, right)
    except (TypeError, ArithmeticError) as error:
        raise Unreadable(node, str(error)) from error


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        return False
    return isinstance(value, timedelta) or abs(value) <= _MOST


def _call(node: ast.Call, names: Mapping[str, Any]) -> Any:
    maker = MAKERS.get(name_of(node.func))
    if maker is None or any(isinstance(part, ast.Starred) for part in node.args):
        raise Unreadable(node, f"“{ast.unparse(node)[:80]}” cannot be read without running it")
    args = [value_of(part, names) for part in node.args]
    named = {part.arg: value_of(part.value, names) for part in node.keywords if part.arg is not None}
    if len(named) < len(node.keywords):
        raise Unreadable(node, "“**” cannot be read without running it; write the values")
    try:
        return maker(*args, **named)
    except Exception as error:  # Celery's own errors of every kind, about what people wrote
        raise Unreadable(node, f"{name_of(node.func)}: {error}") from error
