"""Bodies of requests: how they are read from a form and from JSON, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, Field

from webapp import routes
from webapp.accounts.bodies import PasswordChange, SignIn
from webapp.people.bodies import PersonUpdate, Registration
from webapp.runs.add_numbers import Addition
from webapp.runs.call.launch_form import LaunchOptions
from webapp.runs.retention.views import RetentionRules
from webapp.schedule_store.definition import ALL_RULE_FIELDS, FIELDS
from webapp.schedules.bodies import OtherArguments, Pausing, Resumption, ScheduleBody, SchedulePausing
from webapp.schedules.calendar.moving_views import AllowedHours
from webapp.schedules.rule_fields import RULES
from webapp.web.bodies import OTHER_ERROR, Body, Nullable, Ticked, needed, read_body, read_values
from webapp.web.errors import Invalid

assert routes.BLUEPRINTS, "imports every body"

CONTEXT = {"now": datetime(2026, 11, 22, 12, tzinfo=UTC), "zone": ZoneInfo("Asia/Kathmandu"), "queues": ["beatdesk"]}


class Sample(Body):
    text: Annotated[str, Field(max_length=3), needed("Enter some text.")]
    count: Annotated[int, Field(strict=True, ge=1, le=1_000)] = 1
    names: list[str] = Field(default_factory=list)
    on: Ticked = False
    maybe: Nullable[int] = None
    more: dict[str, int] = Field(default_factory=dict)
    at: AwareDatetime | None = Field(None, alias="from")


def bodies(base: type[Body] = Body) -> Iterator[type[Body]]:
    for body in base.__subclasses__():
        if body is not Sample:
            yield body
            yield from bodies(body)


def faults(body: type[Body], values: dict[str, Any]) -> dict[str, str]:
    try:
        read_values(body, values, errors={}, **CONTEXT)
    except Invalid as error:
        return error.fields
    return {}


def test_form_and_json_are_read_alike(app: Flask) -> None:
    form = {"text": "abc", "names": ["a", "b"], "on": "1", "maybe": "", "from": "2026-11-22T12:00Z", "other": "x"}
    sent = {"text": "abc", "names": ["a", "b"], "on": True, "maybe": None, "from": "2026-11-22T12:00Z", "other": 1}
    with app.test_request_context(method="POST", data=form):
        read = read_body(Sample)
    with app.test_request_context(method="POST", json=sent):
        assert read_body(Sample) == read
    assert (read.names, read.on, read.maybe, read.at) == (["a", "b"], True, None, CONTEXT["now"])


@pytest.mark.parametrize("json", [[], "text", 5])
def test_json_that_is_no_object_is_refused_with_the_names_it_needs(app: Flask, json: object) -> None:
    with app.test_request_context(method="POST", json=json), pytest.raises(Invalid) as refused:
        read_body(Addition)
    assert refused.value.fields == {"": "Send a JSON object with num1 and num2."}


@pytest.mark.parametrize(
    ("values", "field", "text"),
    [
        ({"text": ""}, "text", "Enter some text."),
        ({}, "text", "Enter some text."),
        ({"text": 5}, "text", "Enter text."),
        ({"text": "abcd"}, "text", "Use at most 3 characters."),
        ({"text": "a", "count": "1"}, "count", "Enter a whole number."),
        ({"text": "a", "count": 0}, "count", "It must be at least 1."),
        ({"text": "a", "count": 2000}, "count", "It must be at most 1,000."),
        ({"text": "a", "names": "b"}, "names", "Send a list."),
        ({"text": "a", "names": [1, 2]}, "names", "Enter text."),
        ({"text": "a", "on": "maybe"}, "on", "Use true or false."),
        ({"text": "a", "more": []}, "more", "Send a JSON object."),
        ({"text": "a", "from": "soon"}, "from", OTHER_ERROR),
    ],
)
def test_each_kind_of_error_has_a_sentence_of_ours(values: dict[str, Any], field: str, text: str) -> None:
    assert faults(Sample, values) == {field: text}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (Registration, {"name", "email", "password", "birthday", "timezone"}),
        (PersonUpdate, {"name", "birthday", "timezone", "roles", "active"}),
        (SignIn, {"email", "password"}),
        (PasswordChange, {"password", "new_password"}),
        (Addition, {"num1", "num2"}),
        (
            RetentionRules,
            {
                f"days_{state}"
                for state in ["succeeded", "failed", "revoked", "expired", "unconfirmed", "skipped", "missed"]
            },
        ),
        (LaunchOptions, {"countdown", "eta", "expires", "priority", "queue"}),
        (ScheduleBody, {*FIELDS} - {*ALL_RULE_FIELDS}),
        (Pausing, {"scope", "tags", "reason", "from", "until", "on_resume"}),
        (SchedulePausing, {"reason", "until"}),
        (Resumption, {"on_resume"}),
        (OtherArguments, {"args", "kwargs"}),
        (AllowedHours, {"first_hour", "last_hour"}),
    ],
)
def test_schemas_have_the_names_of_the_json_api(body: type[Body], names: set[str]) -> None:
    assert body.model_json_schema()["properties"].keys() == names


def test_rules_of_all_kinds_have_schemas_with_their_fields() -> None:
    found = [body.model_json_schema()["properties"].keys() for body, _ in RULES.values()]
    assert set().union(*found) == {*ALL_RULE_FIELDS}


@pytest.mark.parametrize("body", list(bodies()))
def test_every_body_has_a_schema_with_a_type_for_each_field(body: type[Body]) -> None:
    properties = body.model_json_schema()["properties"]
    assert all(one.keys() & {"type", "anyOf", "$ref", "enum"} for one in properties.values()), properties


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["1", "2027-01-01"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(st.data())
@pytest.mark.parametrize("body", list(bodies()))
def test_junk_is_read_or_refused_with_sentences(context: Flask, body: type[Body], data: st.DataObject) -> None:
    names = [field.alias or name for name, field in body.model_fields.items()]
    found = faults(body, data.draw(st.dictionaries(st.sampled_from(names), JUNK)))
    assert all(text.endswith(".") for text in found.values()), found
    assert found.keys() <= set(names)
