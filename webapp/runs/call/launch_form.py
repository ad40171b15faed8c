"""The launch form: what it shows for a task, and how what was sent becomes a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from webapp.queue_names import refusal
from webapp.run_store.models import Run
from webapp.runs import service
from webapp.runs.call.arguments import call_faults
from webapp.runs.call.forms import MODE, PREFIX, CallForm, from_json, from_typed, read_fields, read_texts
from webapp.runs.call.numbers import whole
from webapp.runs.list.search import parse_duration
from webapp.secrecy.masked_input import Input, Refused
from webapp.task_catalogue.known_task import KnownTask
from webapp.task_catalogue.registry import find_task
from webapp.web.bodies import Body, Nullable, context_of, read_values
from webapp.web.errors import Invalid

LOWEST_PRIORITY = 9
# Within every database's calendar.
MAX_DELAY = timedelta(days=3650)


def _read_duration(value: object) -> timedelta:
    try:
        found = timedelta(seconds=parse_duration(str(value)))
    except Invalid:
        raise ValueError("Enter a duration, such as 90s, 5m or 2h.") from None
    if found > MAX_DELAY:
        raise ValueError("This is longer than ten years.")
    return found


def _read_start(value: object, info: ValidationInfo) -> datetime:
    now, zone = context_of(info)["now"], context_of(info)["zone"]
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError("Enter a date and time, such as 2027-01-31T08:00.") from None
    moment = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment
    if moment < now - timedelta(minutes=1):
        raise ValueError("This time is in the past.")
    if moment > now + MAX_DELAY:
        raise ValueError("This is more than ten years from now.")
    if info.data.get("countdown") is not None:
        raise ValueError("Enter a delay or a start time, not both.")
    return moment


def _read_priority(value: object) -> int:
    found = whole(value)
    if not 0 <= found <= LOWEST_PRIORITY:
        raise ValueError(f"Enter a priority from 0 to {LOWEST_PRIORITY}.")
    return found


def _read_queue(value: object, info: ValidationInfo) -> str:
    queue = str(value).strip()
    if queue not in context_of(info)["queues"]:
        raise ValueError(refusal(queue) or f"No worker consumes the queue “{queue}”.")
    return queue


Duration = Annotated[
    Nullable[Annotated[timedelta, BeforeValidator(_read_duration)]],
    WithJsonSchema({"type": "string", "examples": ["90s", "5m", "2h"]}),
]


class LaunchOptions(Body):
    """When, where and for how long a run is launched; what it takes is read by the form of its task.

    Read with the present moment as `now`, the reader's `zone`, and the names of consumed `queues`.
    """

    countdown: Duration = None
    eta: Nullable[Annotated[datetime, BeforeValidator(_read_start)]] = None
    priority: Nullable[Annotated[int, Field(ge=0, le=LOWEST_PRIORITY), BeforeValidator(_read_priority)]] = None
    expires: Duration = None
    queue: Nullable[Annotated[str, BeforeValidator(_read_queue)]] = None

    def of_run(self, now: datetime) -> dict[str, Any]:
        """As the options of `creation.create_run`."""
        begins = self.eta if self.countdown is None else now + self.countdown
        expires_at = None if self.expires is None else (begins or now) + self.expires
        return {"eta": begins, "expires_at": expires_at, "priority": self.priority, "queue": self.queue}


@dataclass(frozen=True, slots=True)
class Form:
    """What the form shows: the call, and what else was typed."""

    call: CallForm
    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    origin: Run | None = None

    @property
    def task(self) -> KnownTask | None:
        """The task that was chosen."""
        return self.call.task


def blank(task_name: str, *, as_json: bool = False) -> Form:
    """The form for a task, with nothing typed. An unknown name gives the form that asks for the task."""
    call = from_json(task_name, "[]", "{}", as_json=as_json)
    errors = {"task": f"There is no registered task “{task_name}”."} if task_name and call.task is None else {}
    return Form(call, errors=errors)


def prefilled(run: Run, *, as_json: bool = False) -> Form:
    """The form with the arguments of a run, to launch it again with others."""
    given = {"queue": run.queue or "", "priority": "" if run.priority is None else str(run.priority)}
    kept = service.kept_call(run) is not None
    return Form(from_json(run.task, run.args, run.kwargs, as_json=as_json, kept=kept), given, origin=run)


def typed(sent: Mapping[str, Any]) -> dict[str, str]:
    """What was sent as the form has it; a JSON object may hold the arguments as lists and objects."""
    given = {name: value for name, value in sent.items() if value is not None}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return texts if texts == given else {MODE: "json", **texts}


def again(given: Mapping[str, str], errors: Mapping[str, str], origin: Run | None) -> Form:
    """The form with what was typed, and what is wrong with it."""
    typed = given if given.get(MODE) == "json" else {**given, MODE: "fields"}
    return Form(from_typed(given.get("task", ""), typed), given, errors, origin)


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be launched; `options` are those of `creation.create_run`."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]


def read(given: Mapping[str, str], now: datetime, zone: ZoneInfo, queues: list[str], origin: Run | None = None) -> Call:
    """The call that was sent. Raises Invalid with a sentence at each field that cannot be taken.

    A mask among the arguments stands for what `origin`, the run that is launched again, has there.
    """
    errors: dict[str, str] = {}
    task = find_task(given.get("task", ""))
    if task is None:
        raise Invalid({"task": "Choose one of the registered tasks."})
    args, kwargs = list[Any](), dict[str, Any]()
    try:
        args, kwargs = read_texts(given) if given.get(MODE) == "json" else read_fields(task, given)
    except Invalid as error:
        errors |= error.fields
    options: dict[str, Any] = {}
    try:
        options = read_values(LaunchOptions, given, now=now, zone=zone, queues=queues).of_run(now)
    except Invalid as error:
        errors |= error.fields
    kept = service.kept_call(origin) if origin is not None and origin.task == task.name else None
    try:
        args, kwargs = Input(task.rule, task.name, kept).read(args, kwargs)
    except Refused as error:
        errors |= error.by_field() if given.get(MODE) == "json" else error.by_argument(PREFIX)
    if not errors:
        errors |= call_faults(task, args, kwargs)
    if errors:
        raise Invalid(errors)
    return Call(task.name, args, kwargs, options)
