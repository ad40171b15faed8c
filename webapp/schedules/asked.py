"""What a request for schedules carries: the fields of a form or of a JSON object, and the wishes of a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import request

from webapp.encoding import encodable_value
from webapp.schedules.editor import crontab_builder
from webapp.schedules.list.listing import Filters
from webapp.schedules.list.ordering import DIRECTIONS, ORDERS, Order
from webapp.web.errors import Invalid
from webapp.web.query_string import LONGEST_TEXT, text_in_query
from webapp.web.request_body import submitted

# Two names of 255 characters, and what JSON adds.
LONGEST_EDGE = 1200
# Sent along with a schedule's fields, and none of them.
NO_FIELDS = ("csrf_token", "version", "schedule_id", "clone", "back", "tried", "switch")


def list_sent(name: str, sent: dict[str, Any]) -> list[str]:
    """A field that may have several values: a JSON list, or a form's field sent more than once."""
    if not request.is_json:
        return [encodable_value(value) for value in request.form.getlist(name)]
    values = sent.get(name, [])
    if not isinstance(values, list):
        raise Invalid({name: "Use a list."})
    return [str(value) for value in values]


def given_fields() -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a schedule that were sent, and what was sent along with them.

    Of a field that a form sends twice the last one counts: a tick box has a hidden "0" before it. Raises Invalid for
    JSON that is not an object.
    """
    sent = submitted()
    along = {
        name: sent.pop(name) for name in list(sent) if name in NO_FIELDS or name.startswith(crontab_builder.PREFIX)
    }
    if "build.week" in along:
        along["build.week"] = ",".join(list_sent("build.week", along))
    return sent, along


def edited_id(along: dict[str, Any]) -> int | None:
    """The schedule that a form edits; None for a new one."""
    text = str(along.get("schedule_id", ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def cloned_id(along: Mapping[str, Any]) -> int | None:
    """The schedule that a new one was filled in from; its secrets stay where they are masked."""
    return edited_id({"schedule_id": along.get("clone", "")})


def edited_version(along: dict[str, Any]) -> int | None:
    """The version that was on the screen of whoever saves; None when they do not say."""
    text = str(along.get("version", ""))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def asked_filters() -> Filters:
    """What to list, from behind the question mark."""
    return Filters(**{name: text_in_query(name) for name in Filters.__slots__})


def asked_order() -> Order:
    """In which order; by name for what is no order."""
    by, direction = request.args.get("sort", ""), request.args.get("direction", "")
    return Order(by, direction == DIRECTIONS[True]) if by in ORDERS else Order()


def asked_edge(name: str) -> str:
    """From where a page goes on, whole: an edge may be longer than what people search for."""
    return text_in_query(name, most=LONGEST_EDGE)


def filters_from(given: dict[str, Any]) -> Filters:
    """The same wishes, sent along with a form."""
    texts = {name: str(given.get(name, "")) for name in Filters.__slots__}
    return Filters(**{name: "".join(filter(str.isprintable, text))[:LONGEST_TEXT] for name, text in texts.items()})
