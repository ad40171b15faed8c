"""An exported schedule is imported again unchanged, whatever its values. Pure, except for the registry of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beatdesk.secrecy.names import is_secret
from beatdesk.secrecy.text import MASK, hide
from webapp.extensions import celery
from webapp.schedule_store.definition import DEFAULTS
from webapp.schedules.sources.formats import ImportOptions, read
from webapp.schedules.sources.yaml_file import to_yaml
from webapp.schedules.transfer.export import entry_of, to_json
from webapp.schedules.validation import examine

NOW = datetime(2027, 6, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module", autouse=True)
def _any_task(registered_tasks: None) -> Iterator[None]:
    @celery.task(name="anything", shared=False)
    def anything(*args: Any, **kwargs: Any) -> None: ...

    yield
    celery.tasks.pop("anything")


def define(fields: dict[str, Any]) -> dict[str, Any]:
    """The snapshot of a schedule of these fields, as its row keeps it."""
    definition = examine({**DEFAULTS, **fields}, NOW).definition
    assert definition is not None
    kept: dict[str, Any] = json.loads(json.dumps(definition.snapshot()))
    return kept


def check_round_trip(**fields: Any) -> None:
    interval = {"name": "x", "task": "anything", "kind": "interval", "every": 3, "period": "hours"}
    snapshot = define({**interval, **fields})
    for text in (to_yaml([entry_of(snapshot)]), to_json([entry_of(snapshot)])):
        text.encode()
        (again,) = read(text, ImportOptions(), NOW)
        assert define(dict(again.fields)) == snapshot


TEXTS = [
    *"\ufeff\x00\x7f\x1b\x85\u2028\ufffe\t~|%@'\"=", " lead", "trail ", "a\n\n b\n", "1:30", "0x1", "1e3", ".nan",
    "null", "yes", "- a", "# x", "a: b", "!x", "&a", "*a", "<<", "2027-01-01", "😀 नमस्ते", "é" * 200,
    "x " * 100, "beat_schedule", '"model": "django_celery_beat.periodictask"', "0 5 * * * add 1 2",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_odd_texts(text: str) -> None:
    check_round_trip(args=[text, {text: text, "b": [text]}], kwargs={text: 1})


def test_deep_arguments_and_long_numbers() -> None:
    check_round_trip(args="[" * 101 + "]" * 101)
    check_round_trip(args=[10**99, 10**100, -(10**700), 1e300, 0.1, -0.0, 1e-7, 10**22])


# Secrets are sealed, and masks stand for them: see `test_sealed_transfer`.
NAMES = st.text().filter(lambda name: not is_secret(name))
PLAIN = st.text().filter(lambda text: hide(text) == text and MASK not in text)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN


def containers(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=4) | st.dictionaries(NAMES, values, max_size=4)


@settings(max_examples=60)
@given(st.lists(st.recursive(LEAVES, containers, max_leaves=10), max_size=3))
def test_any_value(args: list[Any]) -> None:
    check_round_trip(args=json.loads(json.dumps(args).replace("\\ud", "\\\\ud")))
