"""Replacements for the parts of Celery that write arguments outside of a message's body; these mask them."""

from __future__ import annotations

from typing import Any

from celery.app.amqp import AMQP
from celery.backends.redis import RedisBackend
from celery.utils.saferepr import saferepr

from beatdesk.secrecy import executing
from beatdesk.secrecy.masking import Concealed, conceal, masked_value, rule_of, value_without, without
from beatdesk.secrecy.sealing import looks_sealed, seal, unseal
from beatdesk.secrecy.text import MASK, SEALED, hide

# The context for which parts of a chord are sealed, and the length of the list in which Celery stores each.
CHORD = "chord"
_PART_LENGTH = 4


class MaskingAMQP(AMQP):
    """Masks the readable form of the arguments that messages carry for logs, events and monitors."""

    def as_task_v2(self, task_id: str, name: str, args: Any = None, kwargs: Any = None, *rest: Any, **more: Any) -> Any:
        """A message as Celery makes it. A readable form that the caller passes is masked already."""
        if more.get("argsrepr") is None:
            found = _concealed(self.app, name, args, kwargs)
            if found is not None:
                shown = (saferepr(value, self.argsrepr_maxsize) for value in (found.args, found.kwargs))
                more |= dict(zip(("argsrepr", "kwargsrepr"), shown, strict=True))
        return super().as_task_v2(task_id, name, args, kwargs, *rest, **more)


class MaskingBackend(RedisBackend):
    """Masks secrets in arguments, results and errors before they reach Redis, as `runs` has them."""

    def encode(self, data: Any) -> Any:
        """The stored form. A part of a chord that has a secret is sealed, because the chord's body needs it whole."""
        is_part = isinstance(data, list) and data[:1] == [1] and len(data) == _PART_LENGTH
        if is_part and (executing.has_secrets() or masked_value(data) != data):
            data = [SEALED + seal(super().encode(data), CHORD)]
        return super().encode(data)

    def decode(self, payload: Any) -> Any:
        """The value of a stored form, with parts of chords unsealed."""
        found = super().decode(payload)
        if isinstance(found, list) and len(found) == 1 and looks_sealed(found[0]):
            return super().decode(unseal(found[0].removeprefix(SEALED), CHORD))
        return found

    def _get_result_meta(self, result: Any, state: Any, traceback: Any, request: Any, **more: Any) -> dict[str, Any]:
        meta: dict[str, Any] = super()._get_result_meta(result, state, traceback, request, **more)
        # Of an unregistered task Celery has only the name.
        task = getattr(request, "task", None) or getattr(request, "name", None)
        call = getattr(request, "args", None), getattr(request, "kwargs", None)
        found = _concealed(self.app, task, *call) if task else None
        if found is not None:
            for name, value in (("args", found.args), ("kwargs", found.kwargs)):
                if name in meta:
                    meta[name] = value
            meta["result"] = value_without(found.texts, meta["result"])
            meta["traceback"] = without(found.texts, meta["traceback"]) if meta["traceback"] else None
        meta["result"] = masked_value(meta["result"])
        meta["traceback"] = hide(meta["traceback"]) if meta["traceback"] else None
        return meta


def _concealed(app: Any, name: str, args: Any, kwargs: Any) -> Concealed | None:
    """The call without its secrets, or None if it has none."""
    # Not `app.tasks`, which would import all tasks into a process that only sends.
    rule = rule_of(app._tasks.get(name))  # noqa: SLF001
    try:
        found = conceal(rule, args or (), kwargs or {})
    except RecursionError:
        # Arguments that are nested too deep to be checked are masked as a whole.
        return Concealed([MASK], {}, ([], {}), any=True)
    return found if found.any else None
