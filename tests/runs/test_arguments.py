"""A task's signature as a form, and the form as a call again."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any, Literal

import pytest
from kombu.utils import json as wire

from webapp.runs.call.forms import as_fields, fields_of, read_fields
from webapp.task_catalogue.known_task import KnownTask
from webapp.task_catalogue.registry import described
from webapp.web.errors import Invalid


class Layout(enum.Enum):
    SHORT = "short"
    LONG = "long"


def report(  # noqa: PLR0917  # as tasks of other people are
    recipient: str,
    day: dt.date | None = None,
    copies: int = 1,
    factor: float = 1.0,
    urgent: bool = False,
    layout: Layout = Layout.SHORT,
    form: Literal["pdf", "csv"] = "pdf",
    at: dt.datetime | None = None,
    columns: list[str] | None = None,
    *,
    options: dict[str, int] | None = None,
    anything: Any = None,
    unknown: NotImported = None,  # type: ignore[name-defined]  # noqa: F821  # as in a module that imports it for types
) -> None:
    """Send a report.

    Args:
        recipient: Who gets it.

    :param int copies: How many.
    """


def spread(first, /, second, *rest, count=3, **more):  # type: ignore[no-untyped-def]
    """Without annotations."""


class Holder:
    """Stands for a Celery task."""

    def __init__(self, run: Any) -> None:
        self.run = run


def known(function: Any) -> KnownTask:
    return described(function.__name__, Holder(function))


def sent(**texts: str) -> dict[str, str]:
    return {f"arg.{name}": text for name, text in texts.items()}


def test_the_signature_decides_the_fields() -> None:
    fields = {field.name: field for field in fields_of(known(report))}
    assert {name: field.kind for name, field in fields.items()} == {
        "recipient": "text", "day": "date", "copies": "int", "factor": "number", "urgent": "bool", "layout": "choice",
        "form": "choice", "at": "datetime", "columns": "json", "options": "json", "anything": "json", "unknown": "json",
    }  # fmt: skip
    assert fields["recipient"].required
    assert fields["layout"].choices == (('"short"', "short (SHORT)"), ('"long"', "long (LONG)"))
    assert (fields["copies"].default, fields["day"].default) == ("1", "nothing")
    assert (fields["recipient"].hint, fields["copies"].hint) == ("Who gets it.", "How many.")


def test_without_annotations_defaults_decide() -> None:
    kinds = {field.name: (field.kind, field.spread) for field in fields_of(known(spread))}
    assert kinds == {
        "first": ("json", ""), "second": ("json", ""), "rest": ("json", "*"), "count": ("number", ""),
        "more": ("json", "**"),
    }  # fmt: skip


def test_each_kind_is_read_as_its_type() -> None:
    typed = sent(
        recipient=" a b ", day="2027-01-31", copies="2", factor="1.5", urgent="true", layout="long", form='"csv"',
        at="2027-01-31T08:00", columns='["a"]', options='{"x": 1}', anything="null",
    )  # fmt: skip
    args, kwargs = read_fields(known(report), typed)
    assert args == []
    # As the worker receives it: dates are dates.
    assert wire.loads(wire.dumps(kwargs)) == {
        "recipient": " a b ", "day": dt.date(2027, 1, 31), "copies": 2, "factor": 1.5, "urgent": True,
        "layout": "long", "form": "csv", "at": dt.datetime(2027, 1, 31, 8),  # noqa: DTZ001  # as it is typed
        "columns": ["a"], "options": {"x": 1}, "anything": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("day", "31.1.2027", "not a date"),
        ("copies", "two", "Enter a number"),
        ("copies", "1.5", "Enter a whole number"),
        ("urgent", "maybe", "Choose one of: true, false"),
        ("layout", "wide", "Choose one of"),
        ("columns", '{"a": 1}', "A JSON list"),
        ("columns", '["a", 2]', "At position 2: A text is required"),
        ("options", '{"x": true}', "Under “x”: A whole number is required"),
        ("anything", "text", "Put text in quotes"),
        ("anything", "NaN", "not a JSON number"),
        ("recipient", "", "Enter a value"),
    ],
)
def test_invalid_value_is_reported_at_its_field(name: str, text: str, words: str) -> None:
    with pytest.raises(Invalid) as raised:
        read_fields(known(report), sent(**{"recipient": "a", name: text}))
    assert raised.value.fields.keys() == {f"arg.{name}"}
    assert words in raised.value.fields[f"arg.{name}"]


def test_what_is_left_empty_is_not_sent() -> None:
    assert read_fields(known(report), sent(recipient="a", copies=" ", day="")) == ([], {"recipient": "a"})


def test_what_was_given_by_position_stays_so() -> None:
    typed = sent(recipient="a", copies="2", urgent="true")
    assert read_fields(known(report), typed, ["a"]) == (["a"], {"copies": 2, "urgent": True})
    assert read_fields(known(report), typed, ["a", None, 1]) == (["a"], {"copies": 2, "urgent": True})


def test_arguments_that_take_the_rest() -> None:
    typed = sent(first="1", second="2", rest="[3, 4]", more='{"x": 5}')
    assert read_fields(known(spread), typed) == ([1, 2, 3, 4], {"x": 5})
    with pytest.raises(Invalid) as raised:
        read_fields(known(spread), sent(first="1", second="2", more='{"count": 5}'))
    assert "has its own field" in raised.value.fields["arg.more"]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "fits"),
    [
        (report, ["a"], {"copies": 2}, True),
        (report, ["a", {"__type__": "date", "__value__": "2027-01-31"}], {}, True),
        (report, ["a", "2027-01-31"], {}, False),
        (report, ["a"], {"copies": "2"}, False),
        (report, [""], {}, False),
        (report, ["a"], {"no": 1}, False),
        (spread, [1, 2, 3], {"x": [1]}, True),
    ],
)
def test_fields_show_exactly_the_call_or_nothing(
    function: Any, args: list[Any], kwargs: dict[str, Any], fits: bool
) -> None:
    task = known(function)
    texts = as_fields(task, args, kwargs)
    assert (texts is not None) == fits
    if texts is not None:
        assert read_fields(task, sent(**texts), args) == (args, kwargs)
