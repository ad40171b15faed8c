"""What somebody sent, as a form or as a JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from webapp.errors import Invalid


def submitted() -> Mapping[str, Any]:
    """The fields of the form, or of the JSON object; text in it can be stored and shown.

    Raises Invalid for JSON that is not an object, BadRequest (400) for what is not JSON at all.
    """
    if not request.is_json:
        return request.form.to_dict()
    given = request.get_json()
    if not isinstance(given, dict):
        raise Invalid({"": "Send a JSON object with the fields."})
    return {_storable(name): _storable(value) for name, value in given.items()}


def _storable(value: Any) -> Any:
    r"""JSON can spell half a character (`"\ud800"`), which no database and no page can hold."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
