"""What a request carries: numbers in its path, its query, and its body as a form or a JSON object.

The gate for text from outside, which is made safe here to ask a database with.
"""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.routing import IntegerConverter, Map

from beatdesk.encoding import encodable_value
from webapp.web.errors import Invalid

LONGEST_TEXT = 200
# Ids are 32-bit integers in PostgreSQL; no row has a larger one.
LARGEST_ID = 2**31 - 1


class IdConverter(IntegerConverter):
    """`<int:…>` in a route, from 0 to `LARGEST_ID`: with another number the address is that of nothing (404)."""

    regex = r"\d{1,10}"

    def __init__(self, rules: Map, *args: Any, **options: Any) -> None:
        super().__init__(rules, *args, **{"max": LARGEST_ID, **options})


def text_in_query(name: str, *, most: int = LONGEST_TEXT) -> str:
    """One value without control characters, which PostgreSQL refuses; "" when it is not given."""
    text = request.args.get(name, "")
    return "".join(character for character in text if character.isprintable()).strip()[:most]


def id_in_query(name: str) -> int | None:
    """One id, or None when it is not given or cannot be one."""
    return read_id(request.args.get(name, ""))


def read_id(value: object) -> int | None:
    """An id of at most ten digits, one above `LARGEST_ID` as that; None for what cannot be an id."""
    text = str(value)
    return min(int(text), LARGEST_ID) if text.isascii() and text.isdigit() and len(text) <= 10 else None


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


def list_sent(name: str, sent: dict[str, Any]) -> list[str]:
    """A field that may have several values: a JSON list, or a form's field sent more than once."""
    if not request.is_json:
        return [encodable_value(value) for value in request.form.getlist(name)]
    values = sent.get(name, [])
    if not isinstance(values, list):
        raise Invalid({name: "Send a list."})
    return [str(value) for value in values]


def ids_sent(sent: dict[str, Any]) -> list[int]:
    """The ids chosen in a list: the field `ids` of a JSON object, or a form's boxes of that name."""
    return read_ids(list_sent("ids", sent))


def read_ids(texts: list[str]) -> list[int]:
    """Those of some texts that can be ids."""
    return [number for text in texts if (number := read_id(text)) is not None]
