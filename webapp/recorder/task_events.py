"""Celery's task events of other projects' workers, translated into entries of the stream of runs.

1. Only `task-received` names the task, its arguments and its retries; every other event has just the id. So what was
   received is remembered, and looked up in `runs` where it is not, such as after a restart.
2. An id that is received once more after it began, and not as a retry, is another run (see `run_store.ids`).
3. Arguments and results are texts made by the sender or the worker (`repr`, at most 1,024 characters). Literals become
   values, other texts are kept as they are. Secrets are masked as in any call.

Events are other programs' writing: a field that is missing or of another form is left out, and an event without an id
or a time is skipped.
"""

from __future__ import annotations

import ast
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from beatdesk.encoding import encodable_value
from beatdesk.execution.events import MAX_INTEGER, TEXT_LIMIT, YEARS, Entry, Event, Unrecordable, recordable_moment
from beatdesk.execution.ids import had_row, id_of_task, repeated_id
from beatdesk.secrecy.masking import Rule, conceal, masked, value_without, without
from beatdesk.secrecy.text import hide
from webapp.run_store.states import Origin
from webapp.task_catalogue.registry import rule_for

MAX_REMEMBERED = 100_000
# Longer texts are not read as literals; Celery's own are at most 1,024 characters.
MAX_LITERAL = 16_384
NOT_KEPT = "Not kept (OBSERVE_ARGUMENTS is off)"
_RELATIVES = ("parent_id", "root_id")
_EXCEPTION = re.compile(r"([A-Za-z_][\w.]*)\((.*)\)", re.DOTALL)

TaskEvent = Mapping[str, Any]


@dataclass(slots=True)
class KnownRun:
    """The run that a task id stands for. `attempt` is Celery's count of retries, `began` that of the last beginning.

    `secrets` of its arguments are masked in its texts.
    """

    id: str
    attempt: int = 0
    task: str = ""
    began: int | None = None
    received: datetime | None = None
    secrets: frozenset[str] = frozenset()


# Of these task ids, those of which a run has a row.
LookUp = Callable[[Sequence[str]], Mapping[str, KnownRun]]


class Translator:
    """Makes entries of events. `look_up` reads `runs`; without `with_arguments` no argument of an event is kept."""

    def __init__(self, look_up: LookUp, *, with_arguments: bool = True) -> None:
        self._look_up = look_up
        self._with_arguments = with_arguments
        self._known: OrderedDict[str, KnownRun] = OrderedDict()
        # Tasks do not change while a process runs, and there are few.
        self._rules: dict[str, Rule] = {}

    def translate(self, events: Iterable[TaskEvent], queue_of: Mapping[str, str]) -> list[Entry]:
        """The entries of a batch, in its order. `queue_of` names the queue of each worker that consumes only one.

        What became of a run that was received before events were read, and has no row, is left out.
        """
        batch = [(event, at) for event in events if _task_id(event) and (at := moment_of(event))]
        self._look_up_unknown(dict.fromkeys(_task_id(event) for event, _ in batch))
        entries = (
            self._received(event, at, queue_of) if event.get("type") == "task-received" else self._outcome(event, at)
            for event, at in batch
        )
        return [entry for entry in entries if entry is not None]

    def _look_up_unknown(self, ids: Iterable[str]) -> None:
        unknown = [task_id for task_id in ids if task_id not in self._known]
        if unknown:
            self._known.update(self._look_up(unknown))
        while len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def _received(self, event: TaskEvent, at: datetime, queue_of: Mapping[str, str]) -> Entry:
        task_id, retries, worker = _task_id(event), event.get("retries"), _text(event, "hostname")
        attempt = retries if isinstance(retries, int) and 0 <= retries <= MAX_INTEGER else 0
        known = self._known.get(task_id)
        if known is None:
            known = KnownRun(id_of_task(task_id))
        elif known.began is not None and not attempt and not had_row(task_id):
            known = KnownRun(repeated_id(task_id, at.timestamp()))
        known.attempt, known.received, known.task = attempt, at, _text(event, "name") or known.task
        self._known[task_id] = known
        self._known.move_to_end(task_id)
        row = "" if had_row(task_id) else self._row(event, known, queue_of.get(worker))
        return Entry(known.id, Event.RECEIVED, attempt, at, row, worker=worker, task=known.task)

    def _row(self, event: TaskEvent, known: KnownRun, queue: str | None) -> str:
        """The contents of the run's row, as JSON (see `recording`)."""
        row: dict[str, Any] = {
            "task": known.task,
            **self._arguments(event, known),
            "queue": queue,
            "worker": _text(event, "hostname") or None,
            "options": None,
            "group_id": None,
            "group_index": None,
            "eta": _iso(event.get("eta")),
            "expires_at": _iso(event.get("expires")),
            "external_id": _task_id(event),
            "origin": Origin.PROGRAM,
            **{name: id_of_task(text) if (text := _text(event, name)) else None for name in _RELATIVES},
        }
        made = json.dumps(encodable_value(row))
        if len(made) > TEXT_LIMIT:
            row |= {"args": f"Too large to keep ({len(made):,} bytes)", "kwargs": {}, "sealed": None}
            made = json.dumps(encodable_value(row))
        return made

    def _arguments(self, event: TaskEvent, known: KnownRun) -> dict[str, Any]:
        """Values where both texts are literals, otherwise the texts."""
        if not self._with_arguments:
            return {"args": NOT_KEPT, "kwargs": {}, "sealed": None}
        texts = _text(event, "args") or "()", _text(event, "kwargs") or "{}"
        args, kwargs = map(literal, texts)
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            return {"args": hide(texts[0]), "kwargs": hide(texts[1]), "sealed": None}
        call = conceal(self._rule(known.task), args, kwargs)
        known.secrets = call.texts
        return {"args": call.args, "kwargs": call.kwargs, "sealed": call.sealed()}

    def _rule(self, task: str) -> Rule:
        if task not in self._rules:
            self._rules[task] = rule_for(task)
        return self._rules[task]

    def _outcome(self, event: TaskEvent, at: datetime) -> Entry | None:
        known, read = self._known.get(_task_id(event)), _OUTCOMES.get(str(event.get("type")))
        if known is None or read is None or (meaning := read(event)) is None:
            return None
        kind, text = meaning
        received = None
        if kind is Event.OBSERVED:
            # Counted with the first beginning.
            received = known.received if known.began is None else None
            known.began = known.attempt
        if kind is Event.SUCCEEDED:
            text = masked(json.dumps(value_without(known.secrets, json.loads(text))))
        else:
            text = hide(without(known.secrets, text))
        runtime = event.get("runtime")
        return Entry(
            known.id,
            kind,
            # The next attempt may be received before the worker says that this one is to be retried.
            known.attempt if known.began is None else known.began,
            at,
            text,
            hide(without(known.secrets, _text(event, "traceback"))),
            _text(event, "hostname"),
            task=known.task,
            seconds=float(runtime) if isinstance(runtime, int | float) else None,
            received=received,
        )


def _succeeded(event: TaskEvent) -> tuple[Event, str]:
    text = _text(event, "result")
    value = literal(text)
    return Event.SUCCEEDED, json.dumps(text if value is NO_LITERAL else value)


def _revoked(event: TaskEvent) -> tuple[Event, str]:
    if event.get("expired"):
        return Event.EXPIRED, "Expired before a worker was free"
    return Event.REVOKED, "Terminated while it ran" if event.get("terminated") else "Revoked"


def _rejected(event: TaskEvent) -> tuple[Event, str] | None:
    # What is queued again is delivered again.
    return None if event.get("requeue") else (Event.FAILED, "The worker rejected its message")


# What became of a run, and the text that says it; None for what changes nothing.
_OUTCOMES: dict[str, Callable[[TaskEvent], tuple[Event, str] | None]] = {
    "task-started": lambda _: (Event.OBSERVED, ""),
    "task-succeeded": _succeeded,
    "task-failed": lambda event: (Event.FAILED, _headline(event)),
    "task-retried": lambda event: (Event.RETRYING, _headline(event)),
    "task-revoked": _revoked,
    "task-rejected": _rejected,
}


def _headline(event: TaskEvent) -> str:
    """An exception as runs show it: of `ValueError('no')` "ValueError: no"."""
    text = _text(event, "exception")
    found = _EXCEPTION.fullmatch(text)
    if found is None:
        return text or "The task failed"
    arguments = literal(f"[{found[2]}]")
    said = ", ".join(map(str, arguments)) if isinstance(arguments, list) else found[2]
    return f"{found[1]}: {said}" if said else found[1]


NO_LITERAL = object()


def literal(text: str) -> Any:
    """The value of a Python literal, as JSON has it; NO_LITERAL for any other text, also one that was cut."""
    if len(text) > MAX_LITERAL:
        return NO_LITERAL
    try:
        # A set, bytes, NaN, or the "..." of a text that was cut, is no JSON.
        return json.loads(json.dumps(ast.literal_eval(text), allow_nan=False))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return NO_LITERAL


def moment_of(event: TaskEvent) -> datetime | None:
    """When an event was sent, by its worker's clock; None where it does not say."""
    epoch = event.get("timestamp")
    try:
        at = datetime.fromtimestamp(epoch, UTC) if isinstance(epoch, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None
    return at if at is not None and at.year in YEARS else None


def _iso(value: Any) -> str | None:
    try:
        return recordable_moment("time", value).isoformat() if value else None
    except Unrecordable:
        return None


def _task_id(event: TaskEvent) -> str:
    return _text(event, "uuid")


def _text(event: TaskEvent, name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""
