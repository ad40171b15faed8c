from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import Visitor, number_of
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.schedule_store import stored
from webapp.schedule_store.definition import iso
from webapp.schedule_store.rows import DETAILS, PROGRESS, TASKS
from webapp.schedules.list import listing
from webapp.schedules.list.cached_counts import MAX_ENTRIES, cached
from webapp.schedules.list.listing import Filters

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


def names(text: str) -> list[str]:
    return re.findall(r'class="schedule-name"[^>]*>([^<]*)<', text)


def test_none_yet_and_none_match_are_different(scheduler: Visitor, filled: Filled) -> None:
    assert "No schedules yet" in scheduler.get("/schedules").text
    scheduler.post("/schedules", filled())
    nothing = scheduler.get("/schedules?q=zebra").text
    assert "No matching schedules" in nothing
    assert "No schedules yet" not in nothing


def test_row_shows_task_time_and_status(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled(tags="nightly")))
    due = datetime(2026, 1, 1, 7, 30, tzinfo=UTC)
    with app.app_context():
        for day in range(3):
            run = Run(
                id=str(uuid.uuid4()), task="add", state="failed" if day == 2 else "succeeded", origin="schedule",
                schedule_id=number, due_at=due + timedelta(days=day),
            )  # fmt: skip
            db.session.add(run)
        db.session.commit()
        db.session.remove()
    text = scheduler.get("/schedules").text
    for part in ("Sums", "every day at 08:30, Europe/Berlin time", "30 8 * * *", "nightly", "failed", "enabled"):
        assert part in text
    row = scheduler.read("/schedules")["schedules"][0]
    assert row["last_run"]["state"] == "failed"
    assert row["next_due_at"] > now().isoformat()


def test_list_page_and_json_show_fire_time_and_due_time(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    daily = {"kind": "interval", "every": "1", "period": "days", "start": (now() - timedelta(hours=12)).isoformat()}
    number = number_of(scheduler.post("/schedules", filled(**daily, jitter="86400")))
    # A due time that has come, while its jitter has not passed: beat waits for that.
    with app.app_context():
        found = stored.find(db.session, number)
        assert found is not None
        ago = (now() - timedelta(minutes=minutes) for minutes in range(1, 600))
        waiting = next(due for due in ago if found.fires_at(due) > now() + timedelta(minutes=1))
        db.session.execute(sa.insert(PROGRESS).values(schedule_id=number, runs=0, next_due_at=waiting))
        db.session.commit()
        said = (waiting, found.fires_at(waiting))
        db.session.remove()
    one, (listed,) = scheduler.read(f"/schedules/{number}"), scheduler.read("/schedules")["schedules"]
    assert (one["next_due_at"], one["next_fires_at"]) == tuple(map(iso, said))
    assert listed.items() <= one.items()
    for path in ("/schedules", f"/schedules/{number}"):
        text = scheduler.get(path).text
        shown = re.search(
            '<time datetime="([^"]*)"[^>]*>[^<]*</time><div class="sub">due <time datetime="([^"]*)', text
        )
        assert shown is not None
        assert shown.groups()[::-1] == tuple(moment.isoformat(timespec="milliseconds") for moment in said)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ALPHA", ["alpha"]),
        ("q=100%25", []),
        ("q=warm", ["gamma"]),
        ("status=disabled", ["beta"]),
        ("status=enabled", ["alpha", "gamma"]),
        ("kind=interval", ["gamma"]),
        ("tag=warm", ["gamma"]),
        ("owner=code", []),
        ("task=add", ["alpha", "beta", "gamma"]),
        ("status=nonsense&kind=nonsense", ["alpha", "beta", "gamma"]),
    ],
)
def test_filters(scheduler: Visitor, filled: Filled, query: str, found: list[str]) -> None:
    scheduler.post("/schedules", filled(name="alpha"))
    scheduler.post("/schedules", filled(name="beta", enabled="0"))
    scheduler.post("/schedules", filled(name="gamma", kind="interval", every="1", period="days", tags="warm"))
    assert names(scheduler.get(f"/schedules?{query}").text) == found


def test_time_in_utc_is_marked_as_utc(scheduler: Visitor, filled: Filled, runner: FlaskCliRunner) -> None:
    number = number_of(scheduler.post("/schedules", filled(timezone="UTC")))
    assert "every day at 08:30, UTC" in scheduler.get("/schedules").text
    page = scheduler.get(f"/schedules/{number}").text
    assert "Every day at 08:30, UTC" in page
    assert (page.count("the time zone above"), page.count("the time zone below"), page.count("Time zone: UTC")) == (
        2,
        1,
        1,
    )
    assert page.count('08:30</span>\n  <span class="sub">UTC</span>') == 10
    part = scheduler.post("/schedules/preview", filled(timezone="UTC"), htmx=True).text
    assert re.search(r"First run \w{3} 20\d\d-\d\d-\d\d 08:30 UTC \(", part)
    listed = runner.invoke(args=["schedules", "list"]).output
    assert re.search(r" 08:30:00 UTC  Sums  \(every day at 08:30, UTC\)", listed)


def test_what_a_link_asked_for_is_seen_and_can_be_left_out(scheduler: Visitor, filled: Filled) -> None:
    scheduler.post("/schedules", filled(name="gamma", tags="warm"))
    text = scheduler.get("/schedules?tag=warm&queue=beatdesk").text
    assert names(text) == ["gamma"]
    assert 'type="checkbox" name="queue" value="beatdesk" checked' in text
    assert "Queue beatdesk" in text
    assert 'type="checkbox" name="tag"' not in text
    assert "filters-asked" not in scheduler.get("/schedules").text


def test_tags_in_use_can_be_chosen(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    odd = number_of(scheduler.post("/schedules", filled(name="odd")))
    for name, tags in (("beta", "warm, Cold"), ("gamma", "warm, 2 % < 3 %")):
        scheduler.post("/schedules", filled(name=name, tags=tags))
    with app.app_context():
        db.session.execute(sa.update(DETAILS).where(DETAILS.c.schedule_id == odd).values(tags="no JSON"))
        db.session.commit()
        db.session.remove()
    text = scheduler.get("/schedules?tag=warm").text
    menu = re.search(r'<select[^>]*name="tag".*?</select>', text, re.DOTALL)
    assert menu is not None
    assert re.findall(r'value="([^"]*)"\s+(?:(selected))?>([^<]*)<', menu[0]) == [
        ("2 % &lt; 3 %", "", "2 % &lt; 3 % (1)"), ("Cold", "", "Cold (1)"), ("warm", "selected", "warm (2)"),
    ]  # fmt: skip
    # One that no schedule has is shown as chosen all the same.
    assert "<option selected>summer</option>" in scheduler.get("/schedules?tag=summer").text


def test_what_is_typed_above_the_list_becomes_its_address(scheduler: Visitor, filled: Filled) -> None:
    scheduler.post("/schedules", filled())
    asked = "/schedules?q=a+%26+b&status=&kind=&owner=code&sort=name&direction=up"
    answer = scheduler.get(asked, htmx=True)
    assert answer.headers["HX-Replace-Url"] == "/schedules?q=a+%26+b&owner=code"
    assert 'href="/schedules">' in answer.text.split('id="filters-clear"')[1]
    cleared = scheduler.get("/schedules?q=&sort=next&direction=down", htmx=True)
    assert cleared.headers["HX-Replace-Url"] == "/schedules?sort=next&direction=down"
    assert "href" not in cleared.text.split('id="filters-clear"')[1]


def test_a_page_asks_for_its_own_rows_again(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled(tags="a b")))
    page = scheduler.get("/schedules?tag=a+b&sort=next&direction=up&status=").text
    address = html.unescape(re.findall(r'hx-get="(/schedules/rows[^"]*)"', page)[0])
    assert address == "/schedules/rows?tag=a+b&sort=next&direction=up"
    first = scheduler.get(address, htmx=True)
    assert names(first.text) == ["Sums"]
    assert f'name="back" value="{html.escape(address.replace("/rows", ""))}"' in first.text
    tag = first.headers["HX-PTag"]
    assert scheduler.get(address, htmx=True, headers={"HX-PTag": tag}).status_code == 304
    with app.app_context():
        run = Run(id="run", task="add", state="failed", schedule_id=number, due_at=now(), schedule_name="Sums")
        db.session.add(run)
        db.session.commit()
        db.session.remove()
    again = scheduler.get(address, htmx=True, headers={"HX-PTag": tag})
    assert (again.status_code, "failed" in again.text) == (200, True)
    # Opened by itself, it is the page.
    assert scheduler.get(address).headers["Location"] == address.replace("/rows", "")


def test_paused_ones_are_found_and_not_called_enabled(scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    scheduler.post(f"/schedules/{number}/pause")
    assert names(scheduler.get("/schedules?status=paused").text) == ["Sums"]
    assert names(scheduler.get("/schedules?status=enabled").text) == []


def test_schedule_that_beat_found_broken_shows_why(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    with app.app_context():
        db.session.execute(sa.insert(PROGRESS).values(schedule_id=number, runs=0, broken="No such task: add"))
        db.session.commit()
        db.session.remove()
    assert "No such task: add" in scheduler.get("/schedules?status=broken").text
    assert "No such task: add" in scheduler.get(f"/schedules/{number}").text


@pytest.mark.parametrize(
    "values",
    [{"args": "not json"}, {"kwargs": "[1]"}, {"discriminator": "nonsense"}, {"schedule_id": 4711}, {"priority": 9}],
)
def test_rows_that_others_wrote_never_break_a_page(
    app: Flask, scheduler: Visitor, filled: Filled, values: dict[str, Any]
) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    with app.app_context():
        db.session.execute(sa.update(TASKS).values(**values))
        db.session.commit()
        db.session.remove()
    assert scheduler.get("/schedules").status_code == 200
    assert scheduler.get(f"/schedules/{number}").status_code == 200
    assert scheduler.read(f"/schedules/{number}")["name"] == "Sums"


def test_pages_follow_one_another_both_ways(context: Flask) -> None:
    fill(103)
    moment = now()
    first = listing.page(Filters(), moment)
    second = listing.page(Filters(), moment, after=first.after or "")
    third = listing.page(Filters(), moment, after=second.after or "")
    shown = [row.schedule.name for page in (first, second, third) for row in page.rows]
    assert shown == [f"s{number:06}" for number in range(103)]
    assert (first.before, third.after) == (None, None)
    back = listing.page(Filters(), moment, before=third.before or "")
    assert [row.schedule.name for row in back.rows] == [row.schedule.name for row in second.rows]


def test_a_page_takes_few_statements_however_long_the_list(context: Flask) -> None:
    fill(300)
    statements: list[str] = []
    sa.event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len(listing.page(Filters(), now()).rows) == listing.PAGE
    assert len([text for text in statements if not text.startswith("BEGIN")]) <= 5


def fill(count: int) -> None:
    """That many schedules, all on one crontab."""
    from webapp.schedule_store.rows import CRONTABS

    rule = db.session.execute(sa.insert(CRONTABS).values(minute="5")).inserted_primary_key[0]  # type: ignore[attr-defined]
    rows = [
        {"name": f"s{number:06}", "task": "add", "discriminator": "crontabschedule", "schedule_id": rule}
        for number in range(count)
    ]
    db.session.execute(sa.insert(TASKS), rows)
    db.session.commit()


def test_the_page_of_one_hears_with_its_runs_what_is_next(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled(max_runs="3")))
    scheduler.post(f"/schedules/{number}/skip")
    page = scheduler.get(f"/schedules/{number}").text
    with app.app_context():
        db.session.execute(sa.insert(PROGRESS).values(schedule_id=number, runs=2, revision=1, last_due_at=now()))
        db.session.commit()
        db.session.remove()
    part = scheduler.get(f"/schedules/{number}/runs", htmx=True).text
    for target in ("next-due", "runs-so-far", "next-times"):
        assert (page.count(f'id="{target}"'), part.count(f'hx-target="#{target}"')) == (1, 1)
    assert ('id="runs-so-far">0 of 3<' in page, 'id="runs-so-far">2 of 3<' in part) == (True, True)
    assert (page.count("due-ago"), part.count("due-ago"), part.count("will be skipped")) == (3, 1, 1)


def test_what_took_long_to_find_is_kept_as_many_times_as_long(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 1000.0, "takes": 0.0}
    monkeypatch.setattr("webapp.schedules.list.cached_counts.time", SimpleNamespace(monotonic=lambda: clock["now"]))
    found = iter(range(100))

    def find() -> int:
        clock["now"] += clock["takes"]
        return next(found)

    def after(seconds: float, takes: float, key: str = "it") -> int:
        clock["now"] += seconds
        clock["takes"] = takes
        return cached(key, find)

    # What is quick is found each time; what takes 100 ms is kept for 20 s.
    assert [after(0, 0.005), after(0, 0.005), after(0, 0.1), after(19, 0.1), after(2, 0.1)] == [0, 1, 2, 2, 3]
    assert after(0, 0.1, "another") == 4
    for number in range(MAX_ENTRIES):
        after(0, 0.1, f"key {number}")
    assert after(0, 0.0) == 5 + MAX_ENTRIES
