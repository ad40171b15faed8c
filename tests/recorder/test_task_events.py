"""What task events of other projects' workers become: entries of the stream, each run under its own id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from beatdesk.execution.events import Entry, Event
from beatdesk.execution.ids import had_row, id_of_task, new_id
from webapp.recorder.task_events import NO_LITERAL, NOT_KEPT, KnownRun, Translator, literal

pytestmark = pytest.mark.usefixtures("context")

AT = 1_790_000_000.0
TASK_ID = "0f5e0cde-83bb-4cd6-b8a5-9a1b9a3d8c55"


def event(kind: str, task_id: str = TASK_ID, after: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"type": f"task-{kind}", "uuid": task_id, "timestamp": AT + after, "hostname": "celery@shop", **fields}


def received(task_id: str = TASK_ID, *, after: float = 0.0, **fields: Any) -> dict[str, Any]:
    given = {"name": "shop.note", "args": "('a', 1)", "kwargs": "{'size': 2.5}", "retries": 0}
    return event("received", task_id, after, **{**given, **fields})


def translator(rows: Mapping[str, KnownRun] | None = None, **options: Any) -> Translator:
    def look_up(ids: Sequence[str]) -> Mapping[str, KnownRun]:
        return {task_id: run for task_id, run in (rows or {}).items() if task_id in ids}

    return Translator(look_up, **options)


def entries(*events: Mapping[str, Any], **options: Any) -> list[Entry]:
    return translator(**options).translate(events, {})


def row(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.text)
    return found


def test_a_run_from_its_reception_to_its_end() -> None:
    made = entries(received(), event("started", after=1), event("succeeded", after=3, result="'a'", runtime=1.5))
    assert [entry.event for entry in made] == [Event.RECEIVED, Event.OBSERVED, Event.SUCCEEDED]
    assert {(entry.run_id, entry.worker, entry.task) for entry in made} == {(TASK_ID, "celery@shop", "shop.note")}
    assert row(made[0])["args"] == ["a", 1]
    assert row(made[0])["kwargs"] == {"size": 2.5}
    assert (made[2].text, made[2].seconds) == ('"a"', 1.5)
    assert made[1].received == datetime.fromtimestamp(AT, UTC)


def test_the_queue_is_known_where_a_worker_consumes_one() -> None:
    made = translator().translate([received()], {"celery@shop": "orders"})
    assert row(made[0])["queue"] == "orders"


def test_arguments_that_are_no_literals_are_kept_as_text() -> None:
    [made] = entries(received(args="(<Order 5>,)", kwargs="{'note': 'x'}"))
    assert (row(made)["args"], row(made)["kwargs"]) == ("(<Order 5>,)", "{'note': 'x'}")


@pytest.mark.parametrize(
    "given", [{"kwargs": "{'password': 'hunter22'}"}, {"args": "(<Order>,)", "kwargs": "{'password': 'hunter22'}"}]
)
def test_secrets_are_masked_by_their_names(given: dict[str, Any]) -> None:
    made = entries(
        received(**given),
        event("failed", exception="ValueError('no login with password=hunter22')", traceback="password='hunter22'"),
    )
    assert "hunter22" not in repr(made).replace(row(made[0]).get("sealed") or "", "")


def test_a_secret_argument_is_masked_in_the_result() -> None:
    made = entries(received(kwargs="{'password': 'hunter22'}"), event("succeeded", result="'it was hunter22'"))
    assert "hunter22" not in made[1].text


def test_arguments_can_be_left_out() -> None:
    [made] = entries(received(), with_arguments=False)
    assert (row(made)["args"], row(made)["kwargs"]) == (NOT_KEPT, {})
    assert "size" not in made.text


def test_a_retry_goes_on_with_its_run() -> None:
    made = entries(
        received(),
        event("started"),
        received(after=1, retries=1),
        event("retried", after=1, exception="ValueError('later')"),
        event("started", after=2),
        event("succeeded", after=3, result="None"),
    )
    assert {entry.run_id for entry in made} == {TASK_ID}
    said = [(entry.event, entry.attempt) for entry in made[2:]]
    assert said == [(Event.RECEIVED, 1), (Event.RETRYING, 0), (Event.OBSERVED, 1), (Event.SUCCEEDED, 1)]
    assert made[3].text == "ValueError: later"
    assert made[5].text == "null"


def test_an_id_that_is_sent_again_is_another_run() -> None:
    made = entries(
        received("daily"), event("started", "daily"), event("succeeded", "daily", result="1"),
        received("daily", after=60), event("started", "daily", after=61),
    )  # fmt: skip
    first, second = made[0].run_id, made[3].run_id
    assert first == id_of_task("daily")
    assert [entry.run_id for entry in made] == [first] * 3 + [second] * 2
    assert second != first
    assert row(made[3])["external_id"] == "daily"


def test_a_run_of_ours_keeps_its_row() -> None:
    ours = new_id()
    assert had_row(ours)
    made = entries(received(ours), event("started", ours), rows={ours: KnownRun(ours, task="shop.note")})
    assert [(entry.run_id, entry.text) for entry in made] == [(ours, ""), (ours, "")]


def test_what_began_before_events_were_read_is_found_in_the_runs() -> None:
    known = KnownRun("the-row", attempt=2, task="shop.note", began=2)
    [made] = entries(event("failed", exception="KeyError('a')"), rows={TASK_ID: known})
    assert (made.run_id, made.attempt, made.task, made.text) == ("the-row", 2, "shop.note", "KeyError: a")
    assert entries(event("failed", exception="KeyError('a')")) == []


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        (event("revoked", terminated=False, expired=True), Event.EXPIRED, "Expired before a worker was free"),
        (event("revoked", terminated=True, expired=False), Event.REVOKED, "Terminated while it ran"),
        (event("revoked", terminated=False, expired=False), Event.REVOKED, "Revoked"),
        (event("rejected", requeue=False), Event.FAILED, "The worker rejected its message"),
        (event("failed", exception="shop.errors.Empty()"), Event.FAILED, "shop.errors.Empty"),
        (event("failed", exception="<odd>"), Event.FAILED, "<odd>"),
        (event("succeeded", result="<Order 5>"), Event.SUCCEEDED, '"<Order 5>"'),
    ],
)
def test_each_end_says_what_happened(given: dict[str, Any], kind: Event, text: str) -> None:
    made = entries(received(), given)
    assert (made[1].event, made[1].text) == (kind, text)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"type": "task-started"},
        {"type": 5, "uuid": TASK_ID, "timestamp": AT},
        event("received", timestamp="yesterday"),
        event("received", timestamp=1e300),
        event("received", timestamp=float("nan")),
        event("rejected", requeue=True),
        event("custom"),
    ],
)
def test_an_odd_event_changes_nothing(odd: dict[str, Any]) -> None:
    made = entries(odd, received(), event("started"))
    assert [entry.event for entry in made] == [Event.RECEIVED, Event.OBSERVED]


def test_an_odd_field_is_left_out() -> None:
    [made] = entries(received(name=None, args=5, kwargs=["x"], retries="many", eta="soon", root_id=7, hostname=None))
    assert (made.attempt, made.worker) == (0, "")
    assert (row(made)["eta"], row(made)["root_id"]) == (None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(1, 'a', None)", [1, "a", None]),
        ("{'a': [1.5, True]}", {"a": [1.5, True]}),
        ("-3", -3),
        *((text, NO_LITERAL) for text in ("(1, ...)", "{1, 2}", "b'x'", "nan", "f(1)", "", "(" * 5000, "1e999", "(1,")),
    ],
)
def test_literals(text: str, value: Any) -> None:
    assert literal(text) == value
