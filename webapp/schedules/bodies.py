"""Bodies of schedules and of pauses; when a schedule repeats is in `rule_fields`.

The moments of pauses need `zone`, the clock that they are meant on, and `now` in the context.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from webapp.queue_names import refusal
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.models import Misfire, Overlap, Resume
from webapp.schedules import fields
from webapp.schedules.rule_fields import KIND_SYNONYMS, WHOLE, Moment, read_moment
from webapp.web.bodies import Body, Nullable, Typed, YesNo, context_of, fault_text, is_empty, needed

MAX_REASON = 500
# What brokers know; beat refuses others too.
HIGHEST_PRIORITY = 9


def _read_reason(value: object) -> str:
    return fields.line(value or "", most=MAX_REASON)


def _read_resume(value: object) -> str:
    return Resume.SKIP if is_empty(value) else fields.choice(value, tuple(Resume))


def _check_own_end(end: datetime | None, info: ValidationInfo) -> datetime | None:
    if end is not None and end <= context_of(info)["now"]:
        raise ValueError("This time is in the past.")
    return end


def _read_start(value: object, info: ValidationInfo) -> datetime:
    """Now, unless another moment is given. A picker gives whole minutes, so that now may be over a bit."""
    now: datetime = context_of(info)["now"]
    start = now if is_empty(value) else read_moment(value, info)
    if start < now - timedelta(minutes=1):
        raise ValueError("This time is in the past. Leave it empty to start now.")
    return max(start, now)


def _check_end(end: datetime | None, info: ValidationInfo) -> datetime | None:
    now = context_of(info)["now"]
    start = info.data.get("starts_at", now)
    if end is not None and end <= start:
        raise ValueError("Choose an end after the start, not in the past.")
    if end is None and start > now:
        raise ValueError("A change window needs an end.")
    return end


def _read_tags(value: object, info: ValidationInfo) -> list[str]:
    """The tags; none for everything, which has to be said."""
    if info.data.get("scope") == "everything":
        return []
    found = fields.tags(value or "")
    if not found:
        raise ValueError("Enter tags, or choose all schedules.")
    return found


ResumeChoice = Annotated[Resume, BeforeValidator(_read_resume)]


def _read_queue(value: object) -> str:
    name = fields.line(value)
    if reason := refusal(name):
        raise ValueError(reason)
    return name


def _read_seconds(value: object) -> int:
    return fields.whole(fields.duration(value))


def _read_jitter(value: object) -> float:
    return 0.0 if is_empty(value) else fields.duration(value)


def json_field(kind: type, words: str) -> BeforeValidator:
    """Reads a JSON list or object; see `fields.json_value`."""
    return BeforeValidator(partial(fields.json_value, kind=kind, words=words))


Line = Annotated[str, BeforeValidator(fields.line)]
Seconds = BeforeValidator(_read_seconds)


class ScheduleBody(Body):
    """The fields of a schedule but for those of its rule.

    All of them are read, also when some are at fault: such a field has its default, and its error is added to `errors`
    of the context.
    """

    model_config = ConfigDict(validate_default=True, use_enum_values=True)

    name: Annotated[Line, needed("Enter a name.")] = ""
    task: Annotated[Line, needed("Choose a task.")] = ""
    kind: Annotated[
        str,
        Field(json_schema_extra={"enum": list(Kind)}),
        BeforeValidator(partial(fields.choice, options=Kind, synonyms=KIND_SYNONYMS)),
        needed("Choose a kind of schedule."),
    ] = ""
    timezone: Annotated[str, BeforeValidator(fields.timezone)] = "UTC"
    args: Annotated[list[Any], json_field(list, 'a JSON list such as [1, "two"]')] = Field(default_factory=list)
    kwargs: Annotated[dict[str, Any], json_field(dict, 'a JSON object such as {"count": 1}')] = Field(
        default_factory=dict
    )
    enabled: YesNo = True
    queue: Nullable[Annotated[str, BeforeValidator(_read_queue)]] = None
    exchange: Nullable[Line] = None
    routing_key: Nullable[Line] = None
    priority: Nullable[Annotated[int, Field(ge=0, le=HIGHEST_PRIORITY), WHOLE]] = None
    expire_seconds: Nullable[Annotated[int, Field(ge=1), Seconds]] = None
    start: Nullable[Moment] = None
    end: Nullable[Moment] = None
    max_runs: Nullable[Annotated[int, Field(ge=1), WHOLE]] = None
    jitter: Annotated[float, BeforeValidator(_read_jitter)] = 0.0
    misfire: Annotated[Misfire, BeforeValidator(partial(fields.choice, options=Misfire))] = Misfire.RUN_ONCE
    misfire_window: Annotated[int, Field(ge=0), Seconds] = 3600
    overlap: Annotated[Overlap, BeforeValidator(partial(fields.choice, options=Overlap))] = Overlap.ALLOW
    failure_budget: Nullable[Annotated[int, Field(ge=1, le=10_000), WHOLE]] = None
    description: Annotated[str, BeforeValidator(lambda value: fields.lines(value or ""))] = ""
    tags: Annotated[list[str], BeforeValidator(lambda value: fields.tags(value or []))] = Field(default_factory=list)

    @field_validator("*", mode="wrap")
    @classmethod
    def _keep_fault(cls, value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return read(value)
        except ValidationError as error:
            context_of(info)["errors"][info.field_name] = fault_text(error.errors()[0])
            return cls.model_fields[str(info.field_name)].get_default(call_default_factory=True)


class OtherArguments(Body):
    """Arguments for running a schedule once; null is for those that it has."""

    args: Nullable[Annotated[list[Any], json_field(list, "a JSON list such as [1, 2]")]] = None
    kwargs: Nullable[Annotated[dict[str, Any], json_field(dict, 'a JSON object such as {"count": 1}')]] = None


class Resumption(Body):
    """How to go on after a pause."""

    on_resume: ResumeChoice = Resume.SKIP


class SchedulePausing(Body):
    """A pause of one schedule."""

    reason: Annotated[str, BeforeValidator(_read_reason)] = ""
    until: Annotated[Nullable[Moment], AfterValidator(_check_own_end)] = None


class Pausing(Resumption):
    """A pause of all schedules (`scope` "everything") or of those with some tags, or a change window."""

    scope: Typed = ""
    tags: Annotated[list[str], BeforeValidator(_read_tags)]
    starts_at: Annotated[datetime, BeforeValidator(_read_start)] = Field(None, alias="from", validate_default=True)
    reason: Annotated[str, BeforeValidator(_read_reason), needed("Enter a reason. It is shown on every skipped run.")]
    ends_at: Annotated[Nullable[Moment], AfterValidator(_check_end)] = Field(None, alias="until", validate_default=True)
