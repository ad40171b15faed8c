"""Secrets in the calls that a message embeds: the rest of a chain, a chord's body, links. They are sealed in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from webapp.secrecy.masking import SEALED, Rule, seal_within
from webapp.secrecy.sealing import unseal


def sealed(value: Any, rule_for: Callable[[str], Rule]) -> Any:
    """The value with the secret arguments of every signature in it sealed."""
    if isinstance(value, Mapping):
        if isinstance(value.get("task"), str) and "args" in value:
            value = {**value, **_sealed_call(value, rule_for(value["task"]))}
        return {name: sealed(inner, rule_for) for name, inner in value.items()}
    return [sealed(inner, rule_for) for inner in value] if isinstance(value, list | tuple) else value


def _sealed_call(signature: Mapping[str, Any], rule: Rule) -> dict[str, Any]:
    args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    if any(map(rule.hides, (*rule.positions, rule.further))):
        # Results of other tasks come before these arguments, so that their positions are not known yet.
        rule = Rule(rule.names, (), "secret")
    hidden = seal_within(rule, args, kwargs)
    return {"args": hidden[0], "kwargs": hidden[1]}


def opened(value: Any) -> Any:
    """The value with everything in it as it was before it was sealed. Raises Unopenable."""
    if isinstance(value, Mapping):
        return {name: opened(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [opened(inner) for inner in value]
    if isinstance(value, str) and value.startswith(SEALED):
        return json.loads(unseal(value.removeprefix(SEALED)))
    return value
