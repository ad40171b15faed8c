"""Secrets embedded in a message beside its own arguments: in the calls of a chain, a chord or links, and in headers.

They are sealed in place in `runs.options`, and so is text that looks sealed: opening gives exactly the original value,
and never opens text that another program wrote into its message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kombu.utils import json as kombu_json

from beatdesk.secrecy.masking import NAMES_ONLY, Rule, is_blank, parts, walk
from beatdesk.secrecy.sealing import has_key, looks_sealed, needs_sealing, seal, unseal
from beatdesk.secrecy.text import MASK, SEALED

OPTIONS = "options"


def sealed(value: Any, rule_for: Callable[[str], Rule], rule: Rule = NAMES_ONLY, hidden: int = False) -> Any:
    """The value with its secrets sealed; those of each embedded call by the rule of its task."""
    found = parts(rule, value, hidden)
    if found is None:
        return _sealed_leaf(value, hidden)
    if not isinstance(value, Mapping):
        return [sealed(inner, rule_for, rule, secret) for _, inner, secret in found]
    call = _sealed_call(value, rule_for) if isinstance(value.get("task"), str) and "args" in value else {}
    others = ((name, inner, secret) for name, inner, secret in found if name not in call)
    return {name: sealed(inner, rule_for, rule, secret) for name, inner, secret in others} | call


def _sealed_call(signature: Mapping[str, Any], rule_for: Callable[[str], Rule]) -> dict[str, Any]:
    rule = rule_for(signature["task"])
    # Results of other tasks will precede these arguments, so that their positions are not known.
    hidden = any(map(rule.hides, (*rule.positions, rule.further)))
    args = [sealed(value, rule_for, rule, hidden) for value in signature.get("args") or ()]
    kwargs = {
        name: sealed(value, rule_for, rule, rule.hides(str(name)))
        for name, value in (signature.get("kwargs") or {}).items()
    }
    return {"args": args, "kwargs": kwargs}


def _sealed_leaf(value: Any, hidden: int) -> Any:
    if is_blank(value) or not needs_sealing(value, hidden):
        return value
    if not has_key():
        return MASK
    return SEALED + seal(kombu_json.dumps(value), OPTIONS)


def opened(value: Any) -> Any:
    """The original value, with all secrets unsealed. Raises Unopenable."""
    return walk(NAMES_ONLY, value, False, (), _opened_leaf)


def _opened_leaf(value: Any, _hidden: int, _place: tuple[Any, ...]) -> Any:
    return kombu_json.loads(unseal(value.removeprefix(SEALED), OPTIONS)) if looks_sealed(value) else value
