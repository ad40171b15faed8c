"""The chain, chord and links that a message embeds, as `runs.options` keeps them.

They are kept so that a message sent again does what the first one would have done, and so that a page can show the
tasks still to come. The names are those of `Celery.send_task`. Secret arguments are sealed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kombu.utils import json as kombu_json

from beatdesk.execution.host import rule_for
from beatdesk.secrecy import embedded as embedded_secrets

# From the names in a message's body to those that send_task takes.
_EMBEDDED = {"chain": "chain", "chord": "chord", "callbacks": "link", "errbacks": "link_error"}
OPTION_NAMES = (*_EMBEDDED.values(), "group_id", "group_index")
# In a run's options, the task that stands in the place of its own.
REPLACEMENT = "replaced_by"
# Larger options are not read for a page.
MAX_OPTIONS_LENGTH = 64 * 1024
MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Step:
    """A task still to come; with `members` a group, with a `body` a chord. `after` are the next steps of its chain.

    `joins` is the body of the chord that it is a member of; `group_id` and `group_index` say of which group.
    """

    id: str
    task: str = ""
    members: tuple[Step, ...] = ()
    body: Step | None = None
    after: tuple[Step, ...] = ()
    group_id: str | None = None
    group_index: int | None = None
    joins: Step | None = None


@dataclass(frozen=True, slots=True)
class Following:
    """The tasks after a run: the steps of its chain in order, its links, and the body of its chord."""

    chain: tuple[Step, ...] = ()
    links: tuple[Step, ...] = ()
    joins: Step | None = None


NOTHING_FOLLOWS = Following()


class _Encoder(kombu_json.JSONEncoder):
    """Writes what it cannot encode as its text, like the arguments of a run: pickle brings objects of any class."""

    def default(self, o: Any) -> Any:
        """Kombu's form of a value, else its text."""
        try:
            return super().default(o)
        except TypeError:
            return repr(o)


def options_of(embedded: Mapping[str, Any], headers: Mapping[str, Any]) -> str | None:
    """JSON of the options to keep of a message, None when it has none. `embedded` is the third part of its body.

    In a worker's request both are one mapping.
    """
    kept = {ours: embedded.get(theirs) for theirs, ours in _EMBEDDED.items()}
    kept |= {"group_id": headers.get("group"), "group_index": headers.get("group_index")}
    kept = {name: embedded_secrets.sealed(each, rule_for) for name, each in kept.items() if each not in (None, [], ())}
    # As kombu writes it: moments and the like among the arguments come out as they went in.
    return str(kombu_json.dumps(kept, cls=_Encoder)) if kept else None


def replacement_by(signature: Any) -> str | None:
    """JSON of the task that a run has replaced itself by, as a message sent again needs it.

    None when that is a chain or a chord: only its last message has the run's id, and it does not exist yet.
    """
    if signature.get("subtask_type"):
        return None
    return str(kombu_json.dumps(embedded_secrets.sealed(dict(signature), rule_for), cls=_Encoder))


def replaced_by(replacement: str, options: str | None) -> str:
    """A run's options with that."""
    kept: dict[str, Any] = json.loads(options) if options else {}
    return json.dumps({**kept, REPLACEMENT: json.loads(replacement)})


def replacement_of(options: str | None) -> dict[str, Any] | None:
    """The signature that a run has replaced itself by, its secrets still sealed; None for nearly every run."""
    found = json.loads(options).get(REPLACEMENT) if options else None
    return found if isinstance(found, dict) else None


def following(options: str | None) -> Following:
    """The tasks after a run with these options; none when they are too large to be read for a page."""
    if not options or len(options) > MAX_OPTIONS_LENGTH:
        return NOTHING_FOLLOWS
    try:
        kept = json.loads(options)
        chain = _steps(reversed(_list(kept.get("chain"))))
        links = _steps(_list(kept.get("link")))
        return Following(chain, links, _step(kept.get("chord")))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return NOTHING_FOLLOWS


def ids_after(options: str | None) -> list[str]:
    """The ids of the tasks after a run with these options, up to the end of its chain or chord."""
    after, waiting = following(options), list[Step]()
    waiting += [*after.chain, *([after.joins] if after.joins else [])]
    found: list[str] = []
    while waiting:
        step = waiting.pop()
        found.append(step.id)
        waiting += [*step.after, *(other for other in (step.body, step.joins) if other)]
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def _steps(signatures: Any, depth: int = 0) -> tuple[Step, ...]:
    return tuple(step for signature in signatures if (step := _step(signature, depth)))


def _step(signature: Any, depth: int = 0) -> Step | None:
    """A signature, as a step; None for what cannot be one."""
    if not isinstance(signature, dict) or depth > MAX_DEPTH:
        return None
    options, kwargs = signature.get("options") or {}, signature.get("kwargs") or {}
    kind, step_id = signature.get("subtask_type"), str(options.get("task_id") or "")
    if kind == "chain":
        steps = _steps(_list(kwargs.get("tasks")), depth + 1)
        return replace(steps[0], after=steps[0].after + steps[1:]) if steps else None
    if kind == "group":
        return Step(step_id, members=_steps(_list(kwargs.get("tasks")), depth + 1))
    if kind == "chord":
        header = kwargs.get("header")
        tasks = (header.get("kwargs") or {}).get("tasks") if isinstance(header, dict) else header
        members = _steps(_list(tasks), depth + 1)
        return Step(step_id, members=members, body=_step(kwargs.get("body"), depth + 1))
    joins = _step(options.get("chord"), depth + 1)
    group_id, index = options.get("group_id"), options.get("group_index")
    return Step(step_id, str(signature.get("task", "")), group_id=group_id, group_index=index, joins=joins)
