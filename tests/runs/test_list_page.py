"""The list at `/runs` as a person sees it."""

from __future__ import annotations

import html
import re

import pytest
from flask import Flask

from tests.runs.making import make_run, make_runs
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.states import RunState


def links(text: str, label: str) -> str:
    """The address behind a link with that text."""
    found = re.search(rf'href="([^"]+)"[^>]*>(?:\s*<svg(?:(?!</svg>).)*</svg>)?\s*{label}', text, re.DOTALL)
    assert found is not None, label
    return html.unescape(found[1])


def test_none_yet_and_none_match_are_different_texts(viewer: Visitor) -> None:
    assert "No runs yet" in viewer.get("/runs").text
    make_run()
    assert "No runs match" in viewer.get("/runs?state=failed").text
    assert "No runs yet" not in viewer.get("/runs?state=failed").text


def test_row_shows_what_is_known(viewer: Visitor) -> None:
    run_id = make_run(
        RunState.FAILED,
        args="[2]",
        kwargs='{"user": 5, "api_token": "hush hush"}',
        error="ValueError: <b>no</b>",
        schedule_id=3,
        schedule_name="every morning",
        due_at=now(),
        worker="w1@host",
    )
    text = viewer.get("/runs").text
    assert f'href="/runs/{run_id}"' in text
    assert 'href="/schedules/3"' in text
    assert "every morning" in text
    assert "2, user=5, api_token=" in html.unescape(text)
    assert "hush hush" not in text
    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no" in text


def test_filters_stand_in_the_address_and_combine(viewer: Visitor) -> None:
    failed = make_run(RunState.FAILED, task="mail.send", schedule_id=3)
    make_run(RunState.FAILED, task="add")
    make_run(RunState.SUCCEEDED, task="mail.send")
    text = viewer.get("/runs?task=mail.send&state=failed&schedule=3&q=since:1h").text
    assert re.findall(r'id="run-([0-9a-f-]{36})"', text) == [failed]
    assert 'value="since:1h"' in text
    assert "state=succeeded" in links(text, "succeeded")
    assert "q=since%3A1h" in links(text, "succeeded")
    assert "task=mail.send" in links(text, "succeeded")


def test_invalid_search_is_reported_at_its_field(viewer: Visitor) -> None:
    make_run()
    answer = viewer.get("/runs?q=colour:red")
    assert answer.status_code == 422
    assert "“colour:” is not a known qualifier" in answer.text
    assert 'value="colour:red"' in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_pages_lead_older_and_newer(viewer: Visitor) -> None:
    made = make_runs(60)
    first = viewer.get("/runs?state=succeeded").text
    second = viewer.get(links(first, "Older")).text
    assert re.findall(r'id="run-([0-9a-f-]{36})"', second) == made[50:]
    again = viewer.get(links(second, "Newer")).text
    assert re.findall(r'id="run-([0-9a-f-]{36})"', again) == made[:50]


def test_refresh_moves_nothing_and_counts_new_runs(viewer: Visitor) -> None:
    made = make_runs(3, state=RunState.QUEUED)
    page = viewer.get("/runs").text
    poll = re.search(r'hx-get="([^"]+)" hx-trigger="news from:#live"', page)
    assert poll is not None
    address = html.unescape(poll[1])
    first = viewer.get(address, htmx=True)
    assert first.status_code == 200
    tag = {"HX-PTag": first.headers["HX-PTag"]}
    assert viewer.get(address, htmx=True, headers=tag).status_code == 304
    make_run(created_at=now())
    changed = viewer.get(address, htmx=True, headers=tag)
    assert changed.status_code == 200
    assert re.findall(r'id="run-([0-9a-f-]{36})"', changed.text) == made
    assert links(changed.text, "1 new") == "/runs"
    assert "<html" not in changed.text


def test_refresh_is_chosen_by_the_person(viewer: Visitor) -> None:
    make_run()
    off = viewer.get("/runs?refresh=0").text
    # Nothing asks again but what every page says of Beatdesk itself.
    assert re.findall(r'hx-get="([^"]+)"', off) == ["/health"]
    assert 'id="live"' not in off
    assert "refresh=0" in links(off, "failed")
    seldom = viewer.get("/runs?refresh=30").text
    assert 'data-poll="30"' in seldom
    assert "data-stream" not in seldom
    assert 'data-stream="/live/runs"' in viewer.get("/runs").text


@pytest.mark.parametrize("path", ["/runs?before=x", "/runs?after=2027", "/runs?top=%00"])
def test_addresses_without_a_link_are_refused(viewer: Visitor, path: str) -> None:
    assert viewer.get(path).status_code == 422


@pytest.mark.parametrize("query", ["q=%00", "task=%00x", "q=%ff", "state=nope", "schedule=999999999999999", "q=id:%25"])
def test_no_query_breaks_it(viewer: Visitor, query: str) -> None:
    assert viewer.get(f"/runs?{query}").status_code in (200, 422)


def test_members_and_strangers_do_not_see_it(context: Flask) -> None:
    assert Visitor(context, "member").get("/runs").status_code == 403
    assert Visitor(context).get("/runs").status_code == 303
