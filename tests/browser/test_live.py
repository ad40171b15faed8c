"""Live pages in a real browser: by push, by polling, and the live indicator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, Request, expect

from tests.browser.accessibility import PHONE, assert_accessible
from tests.runs.making import make_run
from tests.servers import wait_for
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import User
from webapp.live import slots
from webapp.run_store.changes import announce
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.rows import PROGRESS
from webapp.schedules import service

pytestmark = pytest.mark.browser


def change(run_id: str, **values: Any) -> None:
    """As the recorder writes."""
    db.session.execute(sa.update(Run).where(Run.id == run_id).values(**values))
    db.session.commit()


def hide(page: Page, *, hidden: bool) -> None:
    """As if another tab were looked at."""
    page.evaluate(
        """hidden => {
          Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def asked(page: Page) -> list[str]:
    """The requests that the page makes from now on, as they are made."""
    made: list[str] = []
    # What is wrong is asked for by every page; a static file, such as the icon of a new button, when it is first shown.
    others = re.compile(r"/health$|/static/")
    page.on("request", lambda request: None if others.search(request.url) else made.append(request.url))
    return made


def test_run_is_pushed_to_its_page_until_it_ends(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis
) -> None:
    run_id = make_run(RunState.QUEUED)
    sign_in(page, "operator")
    answers: list[int] = []
    page.on("response", lambda answer: answers.append(answer.status) if answer.url.endswith(run_id) else None)
    page.goto(f"/runs/{run_id}")
    sign = page.locator("#live")
    expect(sign).to_have_text("live")
    expect(sign).to_have_attribute("title", "Changes appear here as they happen.")
    change(run_id, progress_done=1, progress_total=4, progress_at=now(), state=RunState.STARTED, started_at=now())
    announce(redis, [run_id])
    expect(page.locator("progress")).to_have_attribute("value", "25.0")

    def announced_again() -> int:
        with page.expect_response(lambda answer: answer.url.endswith(run_id)) as answer:
            announce(redis, [run_id])
        return answer.value.status

    # Nothing has changed: the answer is empty. The page may have asked before, when its stream began, and that one's
    # answer be on its way.
    wait_for(lambda: announced_again() == 304)
    change(run_id, state=RunState.FAILED, error="ValueError: no", ended_at=now())
    announce(redis, [run_id])
    expect(page.get_by_role("button", name="Retry run", exact=True)).to_be_visible()
    expect(page.locator("#run")).to_contain_text("ValueError: no")
    # It has ended: no stream, no sign, no requests.
    expect(sign).to_have_count(0)
    requests = asked(page)
    announce(redis, [run_id])
    page.wait_for_timeout(1500)
    assert requests == []


def test_new_runs_wait_behind_a_button(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis
) -> None:
    first = make_run(RunState.STARTED, age=10)
    sign_in(page, "viewer")
    page.goto("/runs")
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("tbody tr")).to_have_count(1)
    announce(redis, [make_run()])
    button = page.get_by_role("link", name="1 new")
    expect(button).to_be_visible(timeout=3_000)
    expect(page.locator("tbody tr")).to_have_count(1)
    change(first, state=RunState.SUCCEEDED, ended_at=now())
    announce(redis, [first])
    expect(page.locator(f"#run-{first}")).to_contain_text("succeeded", timeout=3_000)
    expect(page.get_by_role("navigation", name="States").get_by_role("link", name="succeeded")).to_contain_text("2")
    button.click()
    expect(page.locator("tbody tr")).to_have_count(2)


def test_list_of_schedules_follows_and_keeps_what_is_ticked_typed_and_focused(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis
) -> None:
    fields = {"task": "add", "args": [1, 2], "kind": "interval", "period": "hours"}
    first, second = (service.create({**fields, "name": name, "every": 1}).id for name in ("first", "second"))
    sign_in(page, "scheduler")
    page.goto("/schedules?sort=last&direction=down")
    expect(page.locator("#live")).to_have_text("live")
    page.get_by_label("Select first").check()
    button = page.get_by_role("button", name="Disable second")
    button.focus()
    # The order is that of the last runs: the row with the focus comes first now.
    db.session.execute(sa.insert(PROGRESS).values(schedule_id=second, runs=1, last_due_at=now()))
    announce(redis, [make_run(RunState.FAILED, schedule_id=second, due_at=now(), schedule_name="second")])
    row = page.locator(f"#schedule-{second}")
    expect(row).to_contain_text("failed", timeout=3_000)
    expect(page.locator("tbody tr").first).to_have_id(f"schedule-{second}")
    expect(page.get_by_label("Select first")).to_be_checked()
    expect(page.get_by_label("Select second")).not_to_be_checked()
    expect(button).to_be_focused()
    # What is searched for stays searched for.
    page.get_by_role("searchbox").fill("fir")
    expect(page.locator("tbody tr")).to_have_count(1)
    announce(redis, [make_run(RunState.FAILED, schedule_id=first, due_at=now(), schedule_name="first")])
    expect(page.locator(f"#schedule-{first}")).to_contain_text("failed", timeout=3_000)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("searchbox")).to_be_focused()
    # So does the page of one, with what is next.
    page.get_by_role("link", name="first").click()
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#runs-so-far")).to_have_text("0")
    db.session.execute(sa.insert(PROGRESS).values(schedule_id=first, runs=1, revision=1, last_due_at=now()))
    announce(redis, [make_run(RunState.SUCCEEDED, schedule_id=first, due_at=now(), schedule_name="first")])
    expect(page.locator("#runs-so-far")).to_have_text("1", timeout=3_000)
    expect(page.locator("#next-times .due-ago")).to_have_count(10)


def test_ticks_in_the_list_outlive_another_persons_edit(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis
) -> None:
    fields = {"task": "add", "args": [1, 2], "kind": "interval", "every": 1, "period": "hours"}
    first = service.create({**fields, "name": "first"}).id
    service.create({**fields, "name": "second"})
    sign_in(page, "operator")
    page.goto("/schedules")
    expect(page.locator("#live")).to_have_text("live")
    for label in ("All schedules", "Select second"):
        page.get_by_label(label).check()
    service.save(first, {"name": "renamed"})
    announce(redis, [make_run(RunState.FAILED, schedule_id=first, due_at=now(), schedule_name="renamed")])
    expect(page.get_by_role("link", name="renamed")).to_be_visible(timeout=3_000)
    for label in ("All schedules", "Select second"):
        expect(page.get_by_label(label)).to_be_checked()
    page.locator("#bulk").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause 2 schedules?")


def test_page_polls_when_its_stream_is_refused(
    page: Page,
    sign_in: Callable[[Page, str], None],
    context: Flask,
    redis: redis_client.Redis,
    complaints: list[str],
) -> None:
    run_id = make_run(RunState.QUEUED)
    sign_in(page, "viewer")
    person = db.session.scalars(sa.select(User.id)).one()
    db.session.rollback()
    seconds, _ = redis.time()
    taken = {f"tab {number}": seconds + 60 for number in range(slots.STREAMS_PER_PERSON)}
    redis.zadd(slots.KEY.format(person=person), taken)
    with page.expect_response(lambda answer: "/live/" in answer.url) as refused:
        page.goto(f"/runs/{run_id}")
    assert refused.value.status == 429
    sign = page.locator("#live")
    expect(sign).to_have_text("polling")
    expect(sign).to_have_attribute("title", "Live updates are not available. This page refreshes every 1 s.")
    change(run_id, state=RunState.STARTED, started_at=now())
    expect(page.locator(".run-summary")).to_contain_text("started", timeout=5_000)
    # It tries again, and there is room.
    redis.delete(slots.KEY.format(person=person))
    expect(sign).to_have_text("live", timeout=15_000)
    # The browser logs what was refused.
    assert all("429" in complaints.pop() for _ in list(complaints))


def test_hidden_page_asks_for_nothing_and_catches_up(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis, app: Flask
) -> None:
    run_id = make_run(RunState.QUEUED)
    sign_in(page, "viewer")
    page.goto(f"/runs/{run_id}")
    expect(page.locator("#live")).to_have_text("live")
    hide(page, hidden=True)
    requests = asked(page)
    change(run_id, state=RunState.STARTED, started_at=now())
    announce(redis, [run_id])
    page.wait_for_timeout(2_500)
    assert requests == []
    # Its stream is closed, not only ignored.
    assert app.extensions["live"].streams == []
    again: list[Request] = []
    page.on("request", lambda request: again.append(request) if "/live/" in request.url else None)
    hide(page, hidden=False)
    expect(page.locator(".run-summary")).to_contain_text("started", timeout=1_000)
    expect(page.locator("#live")).to_have_text("live")
    assert again[0].headers["last-event-id"]


def test_live_indicator_shows_when_the_server_does_not_answer(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis, complaints: list[str]
) -> None:
    run_id = make_run(RunState.QUEUED)
    sign_in(page, "viewer")
    page.goto(f"/runs/{run_id}")
    sign = page.locator("#live")
    expect(sign).to_have_text("live")
    page.route("**/runs/*", lambda route: route.fulfill(status=503, body="<p>away</p>"))
    announce(redis, [run_id])
    expect(sign).to_have_text("disconnected")
    # What was there stays.
    expect(page.get_by_role("heading", name="add")).to_be_visible()
    page.unroute("**/runs/*")
    expect(sign).to_have_text("live")
    assert all("503" in complaints.pop() for _ in list(complaints))


def test_signed_out_person_is_sent_to_sign_in(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, redis: redis_client.Redis
) -> None:
    sign_in(page, "viewer")
    page.goto("/runs")
    expect(page.locator("#live")).to_have_text("live")
    db.session.execute(sa.text("UPDATE sign_ins SET ended_at = created_at"))
    db.session.commit()
    expect(page).to_have_url(re.compile(r"/login\?next=/runs"), timeout=15_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sign_is_readable(
    new_page: Callable[..., Page],
    sign_in: Callable[[Page, str], None],
    context: Flask,
    redis: redis_client.Redis,
    scheme: str,
) -> None:
    page = new_page(viewport={"width": 375, "height": 800}, color_scheme=scheme)
    sign_in(page, "viewer")
    page.goto("/runs")
    sign = page.locator("#live")
    expect(sign).to_have_text("live")
    for state in ("live", "polling", "disconnected"):
        sign.evaluate("(sign, state) => { sign.dataset.state = sign.textContent = state; }", state)
        assert_accessible(page, "#live", sizes=(PHONE,))
