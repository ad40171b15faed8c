"""Pages and counts of runs, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from tests.runs.making import make_run, make_runs
from webapp.database.engine import now
from webapp.run_store.states import RunState
from webapp.runs.list import listing
from webapp.runs.list.listing import Edge
from webapp.runs.list.search import parse
from webapp.web.errors import Invalid

pytestmark = pytest.mark.each_database


def ids(text: str) -> list[str]:
    return [row.id for row in listing.page(parse(text), now()).rows]


def test_pages_lead_to_the_end_and_back(context: Flask) -> None:
    made = make_runs(120)
    search = parse("")
    first = listing.page(search, now())
    second = listing.page(search, now(), before=first.older)
    third = listing.page(search, now(), before=second.older)
    seen = [row.id for page in (first, second, third) for row in page.rows]
    assert seen == made
    assert (first.newer, third.older) == (None, None)
    back = listing.page(search, now(), after=third.newer)
    assert [row.id for row in back.rows] == made[50:100]
    top = listing.page(search, now(), after=back.newer)
    assert [row.id for row in top.rows] == made[:50]
    assert top.newer is None


def test_runs_of_one_moment_are_each_shown_once(context: Flask) -> None:
    at = now()
    made = {make_run(created_at=at) for _ in range(60)}
    first = listing.page(parse(""), now())
    second = listing.page(parse(""), now(), before=first.older)
    assert len(first.rows) == 50
    assert {row.id for row in (*first.rows, *second.rows)} == made


def test_refresh_begins_with_the_same_row_and_counts_what_is_new(context: Flask) -> None:
    made = make_runs(3)
    top = Edge.of(listing.page(parse(""), now()).rows[0])
    make_run(created_at=now() + timedelta(seconds=5))
    make_run(RunState.FAILED, created_at=now() + timedelta(seconds=6))
    assert [row.id for row in listing.page(parse(""), now(), top=top).rows] == made
    assert listing.newer_count(parse(""), now(), top) == 2
    assert listing.newer_count(parse("state:failed"), now(), top) == 1


def test_edge_survives_its_address() -> None:
    edge = Edge(now(), "0f0f")
    assert Edge.parse(str(edge)) == edge
    assert Edge.parse("") is None


@pytest.mark.parametrize("text", ["x", "20270101T000000.000000Z", "Z.a", "9" * 99, "20270101T000000.1Z." + "a" * 40])
def test_what_no_page_linked_to_is_refused(text: str) -> None:
    if text == "20270101T000000.000000Z":
        text = "20270199T000000.000000Z."
    with pytest.raises(Invalid):
        Edge.parse(text)


def test_each_qualifier_finds_its_runs(context: Flask) -> None:
    wanted = make_run(
        RunState.FAILED,
        age=60,
        task="mail.send",
        args='["a", 7]',
        kwargs='{"user": 5, "name": "S\\u00edta", "order": {"id": "x1"}, "ok": true}',
        queue="mail",
        worker="w1@host-a",
        schedule_id=17,
        schedule_name="every morning",
        error="ValueError: 100% wrong_value",
        started_at=now() - timedelta(seconds=60),
        ended_at=now() - timedelta(seconds=40),
    )
    other = make_run(
        RunState.SUCCEEDED, age=9000, kwargs='{"user": 55}', args="[2, 5]", started_at=now(), worker="w2@b"
    )
    for text in (
        "task:mail.send", "task:mail*", "state:failed", "schedule:17", 'schedule:"every morning"', "worker:w1",
        "worker:HOST-A", "queue:mail", f"id:{wanted}", f"id:{wanted[:8]}", "args.user:5", "args.name:Síta",
        "args.order.id:x1", "args.ok:true", "args.0:a", "args.1:7", "runtime:>10s", "runtime:<=21s runtime:>=19s",
        "since:1h", "valueerror", "100%", "wrong_value", "síta", "state:failed state:revoked",
        "task:mail.send state:failed since:5m wrong", f'"{wanted}"',
    ):  # fmt: skip
        assert ids(text) == [wanted], text
    for text in ("args.num2:5", "args.1:5", "queue:beatdesk", "task:add", "state:succeeded", "worker:w2"):
        assert ids(text) == [other], text
    for text in (
        "schedule:nothing",
        "schedule:99",
        "100_",
        "args.user:6",
        "args.9:1",
        "args.user.id:1",
        "id:ffffffffff",
    ):
        assert ids(text) == [], text


def test_counts_are_by_state_and_stop_at_their_limit(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runs(7)
    make_runs(2, state=RunState.FAILED, task="other")
    counts = listing.counts(parse(""), now())
    assert (counts.text(RunState.SUCCEEDED), counts.text(RunState.FAILED), counts.text(RunState.HELD)) == (
        "7",
        "2",
        "0",
    )
    assert counts.total == "9"
    monkeypatch.setattr(listing, "MAX_COUNTED", 5)
    limited = listing.counts(parse(""), now())
    assert (limited.text(RunState.SUCCEEDED), limited.total) == ("5+", "7+")
    of_task = listing.counts(parse("task:other state:succeeded"), now())
    assert (of_task.text(RunState.FAILED), of_task.text(RunState.SUCCEEDED)) == ("2", "0")


def test_counts_stay_with_a_filter_by_argument(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    make_runs(3, kwargs='{"user": 5}')
    make_runs(2, kwargs='{"user": 5}', state=RunState.FAILED)
    make_runs(4, kwargs='{"user": 55}')
    for text in ("args.user:5", "args.user:5 state:failed"):
        found = listing.counts(parse(text), now())
        assert (found.text(RunState.SUCCEEDED), found.text(RunState.FAILED), found.total) == ("3", "2", "5")
    assert listing.counts(parse("args.user:5 state:failed task:other"), now()).total == "0"
    # What only looks like it in the text is looked at too, and counts towards the limit.
    monkeypatch.setattr(listing, "MAX_CANDIDATES", 5)
    assert listing.counts(parse("args.user:5"), now()).total.endswith("+")


def test_long_search_stops_and_leads_on(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "WINDOW_SIZE", 20)
    make_runs(30)
    old = make_run(age=100, error="needle")
    search = parse("needle")
    first = listing.page(search, now())
    assert first.rows == []
    assert first.searched_to is not None
    second = listing.page(search, now(), before=first.older)
    assert [row.id for row in second.rows] == [old]
    assert (second.searched_to, second.older) == (None, None)


def test_argument_search_leads_on_from_its_last_candidate(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_CANDIDATES", 10)
    make_runs(15, args="[15, 51]")
    old = make_run(age=100, args="[5, 1]")
    search = parse("args.num1:5")
    first = listing.page(search, now())
    assert first.rows == []
    assert [row.id for row in listing.page(search, now(), before=first.older).rows] == [old]
