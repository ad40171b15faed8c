"""Shapes of request bodies: the base of their models, the types of common fields, and reading one.

A model has the field names of the JSON API; forms send the same names. Its validators take a form's text and a JSON
value alike, and raise ValueError with the sentence that stands at the field. What needs the database is checked by
services. Only web processes use models: a worker and beat leave them unbuilt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import ErrorDetails

from beatdesk.encoding import encodable_value
from webapp.web.errors import Invalid
from webapp.web.parameters import submitted

Model = TypeVar("Model", bound="Body")
Value = TypeVar("Value")

# For the errors of pydantic's own types. Texts of ours come from validators, as `value_error`.
SENTENCES = {
    "string_type": "Enter text.",
    "string_too_long": "Use at most {max_length:,} characters.",
    "int_type": "Enter a whole number.",
    "greater_than_equal": "It must be at least {ge:,}.",
    "less_than_equal": "It must be at most {le:,}.",
    "missing": "Enter a value.",
    "list_type": "Send a list.",
    "dict_type": "Send a JSON object.",
}
YES, NO = ("1", "true", "on", "yes"), ("0", "false", "off", "no", "")
OTHER_ERROR = "This value is not valid."


class Body(BaseModel):
    """The base of all models. Fields that a model does not have are ignored."""

    # Built when the first request needs it: each process imports every page, and only web processes read bodies.
    model_config = ConfigDict(frozen=True, defer_build=True)


def read_body(model: type[Model], **context: Any) -> Model:
    """The request's form or JSON object as the model. Raises Invalid with a sentence for each field at fault.

    Validators find `context` by `context_of`, such as the present moment or a time zone.
    """
    names = [field.alias or name for name, field in model.model_fields.items()]
    given = submitted(" and ".join(names) if len(names) == 2 else "the fields")
    if not request.is_json:
        lists = [name for name, field in model.model_fields.items() if get_origin(field.annotation) is list]
        given |= {name: encodable_value(request.form.getlist(name)) for name in lists}
    return read_values(model, given, **context)


def read_values(model: type[Model], given: Mapping[str, Any], **context: Any) -> Model:
    """The same from values that came another way. What has to be there is checked as null when it is not."""
    items = model.model_fields.items()
    required = (field.alias or name for name, field in items if field.is_required() or field.validate_default)
    try:
        return model.model_validate(dict.fromkeys(required) | dict(given), context=context)
    except ValidationError as error:
        faults: dict[str, str] = {}
        for one in error.errors(include_url=False, include_input=False):
            faults.setdefault("".join(map(str, one["loc"][:1])), fault_text(one))
        raise Invalid(faults) from None


def fault_text(error: ErrorDetails) -> str:
    """The sentence that stands at a field for an error of pydantic."""
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    return SENTENCES.get(error["type"], OTHER_ERROR).format(**context)


def context_of(info: ValidationInfo) -> Any:
    """What was given to `read_body` for validators."""
    return info.context


def is_empty(value: object) -> bool:
    """Whether nothing was given: null, or a blank text."""
    return value is None or (isinstance(value, str) and not value.strip())


def read_yes_no(value: object) -> bool:
    """A tick of a form, or true and false. Raises ValueError."""
    text = str(value).strip().lower()
    if text not in (*YES, *NO):
        raise ValueError("Use true or false.")
    return text in YES


def needed(sentence: str) -> BeforeValidator:
    """Refuse an empty value with this sentence. Written last among the validators of a type, it is asked first."""

    def check(value: object) -> object:
        if is_empty(value):
            raise ValueError(sentence)
        return value

    return BeforeValidator(check)


# What may be left empty, which is null then: `Nullable[int]`.
Nullable = Annotated[Value | None, WrapValidator(lambda value, read: None if is_empty(value) else read(value))]
# What cannot be text counts as empty, where what was typed is compared and not kept: addresses and passwords.
Typed = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")]
YesNo = Annotated[bool, BeforeValidator(read_yes_no)]
# A tick box: a form sends it or leaves it out, JSON says true or false.
Ticked = Annotated[bool, BeforeValidator(lambda value: read_yes_no(value or ""))]
