"""What was sent, as a form or as a JSON object: the gate for text from outside."""

from __future__ import annotations

from typing import Any

from flask import request

from webapp.encoding import encodable_value
from webapp.web.errors import Invalid


def submitted(needed: str = "the fields") -> dict[str, Any]:
    """The fields of the form, of several with one name the last, or of the JSON object.

    Half surrogates are escaped, at any depth; what else a text may not hold is for its field to refuse. Raises Invalid
    for JSON that is not an object, BadRequest (400) for what is not JSON, or is nested too deep.
    """
    if request.is_json:
        given = request.get_json()
        if not isinstance(given, dict):
            raise Invalid({"": f"Send a JSON object with {needed}."})
    else:
        given = {name: values[-1] for name, values in request.form.lists() if name != "idempotency_key"}
    fields: dict[str, Any] = encodable_value(given)
    return fields
