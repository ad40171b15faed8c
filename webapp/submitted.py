"""What was sent, as a form or as a JSON object: the gate for text from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from webapp.encoding import encodable
from webapp.errors import Invalid


def submitted(needed: str = "the fields") -> dict[str, Any]:
    """The fields of the form, of several with one name the last, or of the JSON object; text in it is encodable.

    What lies in lists and objects is left as it is: the arguments of a task are kept as JSON, with JSON's escapes.
    Raises Invalid for JSON that is not an object, BadRequest (400) for what is not JSON, or is nested too deep.
    """
    if not request.is_json:
        return text_of({name: values[-1] for name, values in request.form.lists()})
    given = request.get_json()
    if not isinstance(given, dict):
        raise Invalid({"": f"Send a JSON object with {needed}."})
    return text_of(given)


def text_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with their names, and values that are text, encodable."""
    return {encodable(name): encodable(value) if isinstance(value, str) else value for name, value in given.items()}
