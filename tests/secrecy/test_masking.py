"""Which arguments are secret, their mask, and that their values are not lost."""

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

from beatdesk.secrecy import executing, sealing
from beatdesk.secrecy.masking import Rule, call_of, conceal, masked, rule_of, value_without, without
from beatdesk.secrecy.text import MASK
from webapp.secrecy.masked_input import Input, Refused
from webapp.secrecy.rows import open_call, seal_call

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
    sealed = seal_call(rule, "t", args, kwargs)
    # To give the same again is no change.
    assert seal_call(rule, "t", args, kwargs, sealed) == sealed
    opened = open_call(rule, "t", *sealed)
    assert (opened.plain, opened.args, opened.kwargs) == ((args, kwargs), call.args, call.kwargs)
    # What is shown, sent back, is what it was.
    assert Input(rule, "t", opened).read(call.args, call.kwargs) == (args, kwargs)
    # What is still to be read is what stands where nothing is secret.
    assert json.dumps(sealed).count("canary") == (row.args + row.kwargs).count("canary")
    assert CANARY not in call.kwargs.values() or call.kwargs.get("user") == CANARY


def test_ordinary_arguments_are_neither_changed_nor_sealed() -> None:
    call = conceal(Rule(), [1, "two", {"three": [3]}], {"user": 5})
    assert (call.any, call.sealed(), call.texts) == (False, None, frozenset())
    assert not Rule().concerns('{"user": 5}')
    assert Rule().concerns('{"Auth_Token": 5}')
    assert rule_of(task(sign_in)).concerns("[1]")
    assert conceal(Rule(), ["sealed:v1:gAAA"], {}).plain == (["sealed:v1:gAAA"], {})


def test_mask_stands_for_what_was_shown_there_and_is_refused_elsewhere() -> None:
    rule = rule_of(task(sign_in))
    kwargs = {"users": [{"id": 1, "secret": "a"}, {"id": 2, "secret": "b"}], "url": "amqp://u:word@host/"}
    kept = conceal(rule, ["maya", "real", "one", "two"], kwargs)
    shown = kept.kwargs
    read = Input(rule, "sign_in", kept).read
    assert read(kept.args, shown) == kept.plain
    # By name what was by position, in another order, and some of them gone.
    assert read(["eve"], {"password": MASK, "users": shown["users"][::-1]}) == (
        ["eve"],
        {"password": "real", "users": kwargs["users"][::-1]},
    )
    assert read([], {"users": shown["users"][1:]}) == ([], {"users": kwargs["users"][1:]})
    for args, named in (
        ([MASK], {"user": "x", "token": MASK}),  # an argument that has no secret, and one that was not there
        (["maya", MASK, MASK], {}),  # which of the two?
        ([], {"users": [{"id": 3, "secret": MASK}]}),
        ([], {"url": f"amqp://u:{MASK}@evil/"}),
        (["maya", f"{MASK}more"], {}),
    ):
        with pytest.raises(Refused):
            read(args, named)
        with pytest.raises(Refused):
            Input(rule, "sign_in").read(args, named)


def test_texts_are_masked_in_every_spelling() -> None:
    texts = conceal(Rule(), [], {"token": CANARY, "secret": 123456, "password": "abc"}).texts
    spellings = [CANARY, repr(CANARY), json.dumps(CANARY), json.dumps([CANARY], ensure_ascii=False), "at 123456"]
    assert "5f3a" not in without(texts, " ".join(spellings))
    assert "123456" not in without(texts, " ".join(spellings))
    # Too short to be distinguished from other text.
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
    """The cost for each task and message; it was 6 µs when the limit was set to 300."""
    rule, count = rule_of(task(sign_in)), 2_000
    began = time.process_time()
    for _ in range(count):
        conceal(rule, [], {"user": 5, "name": "maya"})
    assert (time.process_time() - began) / count < 0.0003
