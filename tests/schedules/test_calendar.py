from __future__ import annotations

import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.models import ScheduleVersion
from webapp.schedule_store.rows import TASKS
from webapp.schedules import service

CALENDAR = "/schedules/calendar?zone=Europe/Berlin"


def make(app: Flask, *wishes: dict[str, Any]) -> list[int]:
    base = {"task": "add", "kind": "crontab", "args": [1, 2], "timezone": "UTC"}
    with app.app_context():
        numbers = [service.create({**base, **wish}).id for wish in wishes]
        db.session.remove()
    return numbers


def read(visitor: Visitor, path: str) -> Any:
    return visitor.get(path, accept="application/json").get_json()


def tomorrow(hour: int, minute: int = 0) -> str:
    """That time tomorrow in UTC, for addresses."""
    day = datetime.now(UTC) + timedelta(days=1)
    return f"{day:%Y-%m-%d}T{hour:02}:{minute:02}:00Z"


def add_rows(app: Flask, *rows: Any) -> None:
    with app.app_context():
        db.session.add_all(rows)
        db.session.commit()
        db.session.remove()


def runs(number: int, seconds: float, count: int = 3) -> list[Run]:
    found = []
    for days in range(1, count + 1):
        at = now() - timedelta(days=days)
        ended = at + timedelta(seconds=seconds)
        run = Run(id=str(uuid.uuid4()), task="add", state="succeeded", schedule_id=number, due_at=at, created_at=at)
        run.started_at, run.ended_at = at, ended
        found.append(run)
    return found


def worker(slots: int, queues: str = '["beatdesk"]', **values: Any) -> Worker:
    row = Worker(id=uuid.uuid4().hex, name="w@alpha", host="alpha", pid=2, pool="prefork", concurrency=slots, **values)
    row.queues = queues
    return row


@pytest.fixture
def midnight(app: Flask) -> list[int]:
    """Twelve schedules that come due at midnight in UTC."""
    return make(app, *({"name": f"n{place:02}", "crontab": "0 0 * * *"} for place in range(12)))


def test_fires_and_their_run_time_against_the_slots(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    make(app, {"name": "often", "crontab": "*/20 * * * *"})
    add_rows(app, worker(2), *runs(midnight[0], 300), *runs(midnight[1], 900, count=2))
    found = read(scheduler, f"/schedules/calendar?zone=UTC&from={tomorrow(0)[:10]}")
    hours = {hour["at"]: hour for hour in found["hours"]}
    assert len(hours) == 7 * 24
    at_midnight, at_one = hours[tomorrow(0)], hours[tomorrow(1)]
    assert (at_midnight["fires"], at_one["fires"]) == (15, 3)
    # One takes five minutes; all others what a run of their task takes, the median of its five runs.
    assert at_midnight["load"] == pytest.approx((300 + 14 * 300) / (2 * 3600), abs=1e-4)
    assert found["pools"] == [{"queues": ["beatdesk"], "slots": 2, "known": "online", "workers": ["w@alpha"]}]
    (burst,) = found["bursts"]
    # 13 fire, two at a time: six rounds are done before the last begins.
    assert (burst["fires"], burst["late"], len(burst["days"])) == (13, 6 * 300, 7)
    assert burst["calmer"] not in (0, 20, 40)


def test_an_edit_shows_at_once(scheduler: Visitor, midnight: list[int]) -> None:
    # Not from now: what has fired in the hour that is half over stays where it was.
    week = f"/schedules/calendar?zone=UTC&from={tomorrow(0)[:10]}"

    def fires() -> int:
        return sum(hour["fires"] for hour in read(scheduler, week)["hours"])

    assert fires() == 12 * 7
    scheduler.post(f"/schedules/{midnight[0]}/disable")
    scheduler.post(f"/schedules/{midnight[1]}/delete")
    scheduler.post(f"/schedules/{midnight[2]}/pause")
    assert fires() == 9 * 7


def last_sunday_of_october() -> date:
    """The next one in Berlin's calendar that has not begun there."""
    soon = now().date() + timedelta(days=2)
    found = [date(year, 10, day) for year in (soon.year, soon.year + 1) for day in range(25, 32)]
    return next(day for day in found if day.weekday() == 6 and day >= soon)


def test_a_day_of_25_hours(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    make(app, {"name": "half hours", "crontab": "*/30 * * * *", "timezone": "Europe/Berlin"})
    first = max(now().date() + timedelta(days=2), last_sunday_of_october() - timedelta(days=6))
    page = scheduler.get(f"{CALENDAR}&from={first}").text
    assert "25 h" in page
    assert re.search(r'<th scope="row">02:00<span class="calendar-odd">again</span>', page)
    assert page.count('scope="row"') == 25
    hours = read(scheduler, f"{CALENDAR}&from={first}")["hours"]
    assert sum(hour["fires"] for hour in hours) == 2 * (7 * 24 + 1) + 12 * 7


def test_missing_workers_are_reported(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    assert "no worker seen yet; assuming one slot" in scheduler.get("/schedules/calendar").text
    add_rows(app, worker(8, seen_at=now() - timedelta(hours=3)))
    page = scheduler.get("/schedules/calendar").text
    assert "no worker is online; assuming the 8 slots of w@alpha" in page
    assert "Without an ended run: add; assuming one second each." in page


def test_an_hour_lists_its_schedules(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    make(app, {"name": "often", "crontab": "*/20 * * * *"})
    add_rows(app, *runs(midnight[3], 120))
    found = read(scheduler, f"/schedules/calendar/hour?at={tomorrow(0)}&zone=UTC")
    assert (found["count"], found["fires"]) == (13, 15)
    often = next(row for row in found["schedules"] if row["name"] == "often")
    assert (often["times"], often["calmer"]) == (["00:00", "00:20", "00:40"], None)
    first = next(row for row in found["schedules"] if row["name"] == "n03")
    assert first["usual"] == {"median": 120, "p95": 120, "runs": 3}
    page = scheduler.get(f"/schedules/calendar/hour?at={tomorrow(0)}&zone=UTC").text
    link = re.search(rf"/schedules/{midnight[3]}/minute/(\d+)", page)
    assert link
    editor = scheduler.get(link[0]).text
    assert f'value="{link[1]} 0 * * *"' in editor
    assert "Saving does not start a run" in editor


def test_twelve_move_away_from_midnight(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    page = scheduler.post("/schedules/calendar/move", {"all": "1", "at": tomorrow(0), "zone": "UTC"}).text
    assert "Move 12 schedules?" in page
    assert "Up to 12 runs start in one minute now; after the move, at most 1" in page
    moves = re.findall(r'name="moves" value="([^"]+)"', page)
    assert [move.split(":")[0] for move in moves] == [str(number) for number in midnight]
    assert len({move.split(":")[2] for move in moves}) == 12
    answer = scheduler.post("/schedules/calendar/move", {"moves": moves})
    assert answer.status_code == 303
    shown = scheduler.get(answer.location).text
    assert "Moved 12 schedules. No run was started." in shown
    lines = {row["crontab"] for row in read(scheduler, "/schedules")["schedules"]}
    assert len(lines) == 12
    assert "0 0 * * *" not in lines
    with app.app_context():
        versions = db.session.scalars(sa.select(ScheduleVersion.version).where(ScheduleVersion.version == 2)).all()
        audited = db.session.scalars(sa.select(AuditEntry.object_id).where(AuditEntry.action == "schedule.update"))
        assert len(versions) == 12
        assert set(audited) == {str(number) for number in midnight}
        db.session.remove()
    assert "You can move 12 schedules back until one of them is edited." in shown
    back = re.findall(r'name="moves" value="([^"]+)"', shown)
    assert scheduler.post("/schedules/calendar/move", {"moves": back}).status_code == 303
    assert {row["crontab"] for row in read(scheduler, "/schedules")["schedules"]} == {"0 0 * * *"}
    # It is undone once; by then there is another version.
    assert scheduler.post("/schedules/calendar/move", {"moves": back}).status_code == 409
    assert "Move back" not in Visitor(app, "viewer").get(answer.location).text
    assert "Move back" not in scheduler.get("/schedules/calendar?back=1:2,x:y:z,%00").text


def test_twelve_spread_over_other_hours_of_the_night(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    hourly = make(app, {"name": "hourly", "crontab": "0 * * * *"})[0]
    asked = {"ids": [*midnight, hourly], "at": tomorrow(0), "zone": "UTC", "to": "hours"}
    page = scheduler.post("/schedules/calendar/move", {**asked, "first_hour": "0", "last_hour": "5"}).text
    assert "Move 12 schedules?" in page
    assert "“hourly”, it is not a crontab with one fixed hour and minute" in page
    assert "after the move, at most 1" in page
    moves = re.findall(r'name="moves" value="([^"]+)"', page)
    answer = scheduler.post("/schedules/calendar/move", {"moves": moves})
    times = [row["crontab"].split()[:2] for row in read(scheduler, "/schedules")["schedules"] if row["id"] != hourly]
    # Two in each of the six hours, none where something else fires.
    assert sorted(hour for _minute, hour in times) == [str(hour) for hour in range(6) for _ in range(2)]
    assert len({(minute, hour) for minute, hour in times}) == 12
    assert "0" not in {minute for minute, _hour in times}
    back = re.findall(r'name="moves" value="([^"]+)"', scheduler.get(answer.location).text)
    found = scheduler.post_json("/schedules/calendar/move", {"moves": back}).get_json()
    assert {one["crontab"] for one in found["moved"]} == {"0 0 * * *"}
    assert len(found["back"]) == 12
    restored = scheduler.post_json(f"/schedules/{midnight[0]}/versions/1/restore", {})
    assert restored.get_json()["crontab"] == "0 0 * * *"


def test_hours_over_midnight_and_hours_that_are_none(scheduler: Visitor, midnight: list[int]) -> None:
    asked = {"ids": midnight[:2], "at": tomorrow(0)}
    found = scheduler.post_json("/schedules/calendar/move", {**asked, "first_hour": 23, "last_hour": 1}).get_json()
    assert {move["after"].split()[1] for move in found["moves"]} <= {"23", "0", "1"}
    wrong = scheduler.post_json("/schedules/calendar/move", {**asked, "first_hour": 24, "last_hour": ""})
    assert wrong.status_code == 422
    assert set(wrong.get_json()["fields"]) == {"first_hour", "last_hour"}
    assert scheduler.post_json("/schedules/calendar/move", {"moves": [f"{midnight[0]}:1:5:24"]}).status_code == 422


def test_the_lists_filters_narrow_the_calendar(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    make(app, {"name": "mine", "crontab": "0 0 * * *", "tags": ["reports"], "queue": "slow"})
    make(app, {"name": "noon", "crontab": "0 12 * * *", "task": "runs.retain", "args": []})

    week = f"/schedules/calendar?zone=UTC&from={tomorrow(0)[:10]}"

    def fires(query: str) -> int:
        return sum(hour["fires"] for hour in read(scheduler, f"{week}&{query}")["hours"])

    everything = fires("")
    assert fires("tag=reports") == fires("queue=slow") == fires("q=MINE") == fires("task=runs.retain") == 7
    assert fires("queue=beatdesk") == everything - 7
    # What an exchange leads elsewhere goes to neither its own queue nor the default one.
    with app.app_context():
        db.session.execute(sa.update(TASKS).where(TASKS.c.name == "mine").values(exchange="events", routing_key="sums"))
        db.session.commit()
        db.session.remove()
    assert (fires("queue=slow"), fires("queue=beatdesk"), fires("")) == (0, everything - 7, everything)
    pools = read(scheduler, "/schedules/calendar?zone=UTC")["pools"]
    assert ["exchange “events” with the routing key “sums”"] in [pool["queues"] for pool in pools]
    assert fires("status=disabled") == fires("tag=nothing") == 0
    found = read(scheduler, f"{week}&q=n0")
    # A burst is what all of them make together.
    assert (found["matched"], found["bursts"][0]["own"], found["bursts"][0]["fires"]) == (10, 10, 12)
    page = scheduler.get("/schedules/calendar?zone=UTC&q=n0&tag=").text
    assert "Counts only the runs of 10 matching schedules" in page
    assert f"at={tomorrow(0)}&zone=UTC&q=n0" in page.replace("&amp;", "&").replace("%3A", ":")
    moving = {"all": "1", "at": tomorrow(0), "zone": "UTC", "q": "n0"}
    assert "Move 10 schedules?" in scheduler.post("/schedules/calendar/move", moving).text
    assert "No matching schedules." in scheduler.get("/schedules/calendar?tag=nothing").text


def test_none_is_moved_when_one_was_edited_meanwhile(scheduler: Visitor, midnight: list[int]) -> None:
    found = scheduler.post_json("/schedules/calendar/move", {"ids": midnight, "at": tomorrow(0)}).get_json()
    moves = [row["move"] for row in found["moves"]]
    scheduler.post(f"/schedules/{midnight[-1]}", {"description": "mine"})
    answer = scheduler.post_json("/schedules/calendar/move", {"moves": moves})
    assert answer.status_code == 409
    error = answer.get_json()["error"]
    assert error.startswith("Sita Gurung saved version 2 of “n11” at 20")
    assert error.endswith("Asia/Kathmandu (UTC+05:45). You edited version 1; your changes were not saved.")
    assert {row["crontab"] for row in read(scheduler, "/schedules")["schedules"]} == {"0 0 * * *"}


def test_schedules_that_cannot_be_rescheduled_are_reported(app: Flask, scheduler: Visitor, midnight: list[int]) -> None:
    often = make(app, {"name": "often", "crontab": "*/20 * * * *"})[0]
    found = scheduler.post_json("/schedules/calendar/move", {"ids": [midnight[0], often], "at": tomorrow(0)}).get_json()
    assert found["refused"] == {"often": "it is not a crontab with one fixed minute"}
    assert len(found["moves"]) == 1
    assert scheduler.get(f"/schedules/{often}/minute/7").status_code == 409
    assert scheduler.post_json("/schedules/calendar/move", {"moves": [f"{often}:1:7"]}).status_code == 422
    assert scheduler.post_json("/schedules/calendar/move", {"moves": [f"{midnight[0]}:1:77"]}).status_code == 422
    assert scheduler.post_json("/schedules/calendar/move", {"ids": []}).status_code == 422


def test_wishes_that_make_no_sense(scheduler: Visitor, midnight: list[int]) -> None:
    for query in ("from=soon", "from=2001-01-01", "from=2999-01-01", "zone=Nowhere"):
        page = scheduler.get(f"/schedules/calendar?{query}")
        assert page.status_code == 422, query
        assert "field-error" in page.text
    assert scheduler.get("/schedules/calendar?from=&zone=Europe%2FBerlin%00").status_code == 200
    for at in ("soon", "2001-01-01T00:00Z", "2999-01-01T00:00Z"):
        assert scheduler.get(f"/schedules/calendar/hour?at={at}").status_code == 422, at


def test_without_schedules(scheduler: Visitor) -> None:
    assert "No enabled schedule can run." in scheduler.get("/schedules/calendar").text
    assert read(scheduler, f"/schedules/calendar/minute?at={tomorrow(0)}")["count"] == 0


def test_who_only_reads_moves_nothing(app: Flask, midnight: list[int]) -> None:
    viewer = Visitor(app, "viewer")
    page = viewer.get(f"/schedules/calendar/minute?at={tomorrow(0)}").text
    assert "n05" in page
    assert 'name="ids"' not in page
    assert viewer.post("/schedules/calendar/move", {"all": "1", "at": tomorrow(0)}).status_code == 403
