"""Which arguments are secret, what stands in their place, and that nothing of them is lost."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.secrecy import executing, sealing
from webapp.secrecy.masking import (
    MASK,
    SEALED,
    Rule,
    call_of,
    conceal,
    masked,
    refusal,
    rule_of,
    seal_within,
    value_without,
    without,
)

CANARY = "canary-5f3a'é\"<"


@pytest.fixture(autouse=True)
def _key() -> None:
    sealing.use("0123456789abcdef-of-a-test")


def task(function: Any, **more: Any) -> Any:
    """As much of a Celery task as a rule is made of."""

    class Made(SimpleNamespace):
        def __hash__(self) -> int:  # type: ignore[override]  # a namespace has none; tasks have
            return id(self)

    return Made(run=function, **more)


def sign_in(user: str, password: str, *tokens: str, pin: int = 0) -> None:
    """Two secrets by position, one by name where the task says so."""


@pytest.mark.parametrize(
    ("args", "kwargs", "shown"),
    [
        (["maya", CANARY], {}, [["maya", MASK], {}]),
        (["maya"], {"password": CANARY, "pin": 1234}, [["maya"], {"password": MASK, "pin": MASK}]),
        (["maya", CANARY, CANARY], {}, [["maya", MASK, MASK], {}]),
        ([{"deep": [{"API_KEY": CANARY, "id": 5}]}], {}, [[{"deep": [{"API_KEY": MASK, "id": 5}]}], {}]),
        (["maya"], {"password": {"old": CANARY, "new": [1]}}, [["maya"], {"password": {"old": MASK, "new": [MASK]}}]),
        (["maya", None], {"pin": ""}, [["maya", None], {"pin": ""}]),
    ],
)
def test_secrets_are_found_by_name_position_and_the_tasks_own_rule(args: Any, kwargs: Any, shown: Any) -> None:
    call = conceal(rule_of(task(sign_in, secrets=("pin",))), args, kwargs)
    assert [call.args, call.kwargs] == shown
    assert call.plain == (args, kwargs)
    assert call.any == (MASK in json.dumps(shown, ensure_ascii=False))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(CANARY),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "token", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


named = st.dictionaries(st.sampled_from(["user", "my_secret", "pin"]), values, max_size=3)


@given(st.lists(values, max_size=3), named)
def test_whatever_is_concealed_comes_back_as_it_was(args: list[Any], kwargs: dict[str, Any]) -> None:
    """In a run's own column, and in a table that has no other place for it."""
    rule = Rule(frozenset({"pin"}), ("first", "token"))
    call = conceal(rule, args, kwargs)
    row = SimpleNamespace(args=json.dumps(call.args), kwargs=json.dumps(call.kwargs), sealed=call.sealed())
    assert call_of(row) == (args, kwargs)
    sealed_args, sealed_kwargs = seal_within(rule, args, kwargs)
    assert seal_within(rule, sealed_args, sealed_kwargs) == (sealed_args, sealed_kwargs)
    again = conceal(rule, sealed_args, sealed_kwargs)
    assert again.plain == (args, kwargs)
    # What is still to be read is what stands where nothing is secret.
    assert json.dumps([sealed_args, sealed_kwargs]).count("canary") == (row.args + row.kwargs).count("canary")
    assert CANARY not in call.kwargs.values() or call.kwargs.get("user") == CANARY


def test_ordinary_arguments_are_neither_changed_nor_sealed() -> None:
    call = conceal(Rule(), [1, "two", {"three": [3]}], {"user": 5})
    assert (call.any, call.sealed(), call.texts) == (False, None, frozenset())
    assert not Rule().concerns('{"user": 5}')
    assert Rule().concerns('{"Auth_Token": 5}')
    assert rule_of(task(sign_in)).concerns("[1]")


def test_submitted_mask_or_foreign_seal_is_refused() -> None:
    rule = rule_of(task(sign_in))
    assert refusal(rule, ["maya", "real"], {}) is None
    assert "type it again" in (refusal(rule, ["maya", MASK], {}) or "")
    token = seal_within(rule, ["maya", "real"], {})[0][1]
    assert token.startswith(SEALED)
    assert refusal(rule, ["maya", token], {}) is None
    sealing.use("another-secret-key-of-some-length")
    assert "another SECRET_KEY" in (refusal(rule, ["maya", token], {}) or "")
    assert "another SECRET_KEY" in (refusal(rule, ["maya", token[:-4]], {}) or "")


def test_texts_are_masked_in_every_spelling() -> None:
    texts = conceal(Rule(), [], {"token": CANARY, "secret": 123456, "password": "abc"}).texts
    told = [CANARY, repr(CANARY), json.dumps(CANARY), json.dumps([CANARY], ensure_ascii=False), "at 123456"]
    assert "5f3a" not in without(texts, " ".join(told))
    assert "123456" not in without(texts, " ".join(told))
    # Too short to be told from other text.
    assert without(texts, "abc") == "abc"
    assert value_without(texts, {"a": [CANARY, 123456, 7]}) == {"a": [MASK, MASK, 7]}


def test_results_are_masked_by_name() -> None:
    assert json.loads(masked('{"access_token": "x", "id": [{"secret": 5}]}')) == {
        "access_token": MASK,
        "id": [{"secret": MASK}],
    }
    assert masked('{"id": 5}') == '{"id": 5}'
    assert masked("no JSON with a token") == "no JSON with a token"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    kept: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(self.format(record))

    handler = Keeping()
    handler.addFilter(executing.HidingFilter())
    logger = logging.getLogger("secrets of a test")
    logger.propagate = False
    logger.addHandler(handler)
    yield kept
    logger.removeHandler(handler)


def test_logs_hide_secrets_while_their_run_is_executed(lines: list[str]) -> None:
    logger = logging.getLogger("secrets of a test")
    executing.begin("a", conceal(Rule(), [], {"token": CANARY}).texts)
    executing.begin("b", frozenset({"other"}))
    logger.warning("said %s and %s", CANARY, "other")
    try:
        int(CANARY)
    except ValueError:
        logger.exception("failed")
    assert executing.hidden("a", CANARY) == MASK
    assert executing.hidden("b", CANARY) == CANARY
    executing.end("a")
    executing.end("b")
    logger.warning("%s", "other")
    assert lines[0] == f"said {MASK} and {MASK}"
    assert "5f3a" not in lines[1]
    assert "ValueError: invalid literal" in lines[1]
    assert lines[2] == "other"


def test_ordinary_call_costs_microseconds() -> None:
    """What each task and each message pays; it was 6 µs where the bound is 300."""
    rule, count = rule_of(task(sign_in)), 2_000
    began = time.process_time()
    for _ in range(count):
        conceal(rule, [], {"user": 5, "name": "maya"})
    assert (time.process_time() - began) / count < 0.0003
