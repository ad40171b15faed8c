"""An entry of the stream that cannot be recorded is set aside with its reason, and stops none of the others."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution import pending_entries
from beatdesk.execution.events import GROUP, STREAM, Entry, Event
from tests.runs.making import make_run
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder import counters, failure_budgets, recording, rejected
from webapp.recorder.recorder import Recorder, lag
from webapp.run_store.creation import NewRun
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database

AT = "2026-11-25T12:00:00+00:00"
ID = "5f3c1e9a-0000-4000-8000-00000000000a"
DEEP = "[" * 10_000 + "]" * 10_000
PUBLISHED: dict[str, Any] = {
    "task": "add", "args": [], "kwargs": {}, "sealed": None, "queue": "celery", "options": None, "group_id": None,
    "group_index": None, "parent_id": None, "root_id": None, "eta": None, "expires_at": None,
}  # fmt: skip


def entry(event: str = "progress", text: Any = "", **changes: Any) -> dict[str, Any]:
    given = text if isinstance(text, str | bytes) else json.dumps(text)
    fields = {"run": ID, "event": event, "attempt": "0", "at": AT, "text": given} | changes
    return {name: value for name, value in fields.items() if value is not None}


def published(**changes: Any) -> dict[str, Any]:
    return entry("published", PUBLISHED | changes)


# What is set aside, and a part of the reason.
POISON: dict[str, tuple[dict[str, Any], str]] = {
    "id of 39 characters": (
        entry("line", {"text": "x"}, run="daily-report:customer-4711:2026-11-25:x"),
        "39 characters",
    ),
    "empty id": (entry(run=""), "0 characters"),
    "id with NULs": (entry("line", {"text": "x"}, run="\x00" * 36), "216 characters"),
    "foreign entry": ({"foo": "bar"}, "no field “run”"),
    "unknown event": (entry("danced"), "“danced”"),
    "attempt that is a word": (entry("failed", attempt="first"), "its attempt"),
    "attempt beyond an integer": (entry("succeeded", attempt="2147483648"), "its attempt"),
    "attempt below zero": (entry("failed", attempt="-1"), "its attempt"),
    "attempt of 5,000 digits": (entry("failed", attempt="9" * 5_000), "its attempt"),
    "moment without a zone": (entry("failed", at="2026-11-25T12:00:00"), "its at"),
    "moment of the year 9999999": (entry("failed", at="9999999-11-25T12:00:00+00:00"), "its at"),
    "moment at the end of the calendar": (entry("failed", at="9999-12-31T23:59:59-14:00"), "its at"),
    "moment at its beginning": (entry("failed", at="0001-01-01T00:00:00+14:00"), "its at"),
    "progress of NaN": (entry(text='{"done": NaN}'), "finite"),
    "progress without end": (entry(text='{"done": 1e999}'), "finite"),
    "progress beyond a float": (entry(text=f'{{"done": {"9" * 400}}}'), "finite"),
    "progress of a list": (entry(text={"done": [1]}), "finite"),
    "progress that is no JSON": (entry(text="half"), "not JSON"),
    "line that is a list": (entry("line", ["x"]), "JSON object"),
    "line nested deeply": (entry("line", DEEP), "not JSON"),
    "published with nothing": (entry("published", {}), "eta"),
    "published with args of a wrong type": (published(args={"a": 1}), "its args"),
    "published with kwargs of a wrong type": (published(kwargs=[1]), "its kwargs"),
    "published with a queue of a wrong type": (published(queue={"a": 1}), "its queue"),
    "published with a task of a wrong type": (published(task=None), "its task"),
    "published with a group index beyond an integer": (published(group_index=2**40), "group_index"),
    "published with an eta in another calendar": (published(eta="9999999-01-01"), "its eta"),
}
# What is recorded, because only something beside it is wrong, or because it can be written in another way.
CURED: dict[str, dict[str, Any]] = {
    "NUL in a progress text": entry(text={"done": 1, "text": "a\x00b"}),
    "half a surrogate in a progress text": entry(text='{"done": 1, "text": "caf\\udce9"}'),
    "NUL and half a surrogate in a line": entry("line", '{"level": "\\u0000\\u0000\\udce9", "text": "\\u0000\\udce9"}'),
    "line of wrong types": entry("line", {"level": {"a": 1}, "text": [DEEP]}),
    "text that is no UTF-8": entry("failed", b"ValueError: caf\xe9"),
    "field that is no UTF-8": entry("failed", "x", odd=b"\xff"),
    "worker that is no UTF-8": entry("succeeded", "null", worker=b"caf\xe9@host", task="add"),
    "names that are too long": entry("succeeded", "null", worker="w" * 400, task="t" * 400),
    "result nested deeply": entry("succeeded", DEEP),
    "text of 1 MB": entry("failed", "é\x00" * 500_000),
    "seconds that are no number": entry("succeeded", "null", seconds="nan", worker="w", task="add", began="soon"),
    "seconds without end": entry("succeeded", "null", seconds="inf", worker="w", task="add", received=AT[:10]),
    "name of a task of 304 characters": published(task="t" * 304),
    "odd name of a task": published(task="caf\udce9\x00", queue="q\udce9", args=["\udce9\x00"]),
    "root with an id of 39 characters": published(root_id="r" * 39, parent_id="p" * 39, group_id="g" * 39),
}  # fmt: skip


@pytest.fixture
def recorder(context: Flask, settings: Settings) -> Iterator[Recorder]:
    made = Recorder(db.engine, settings.redis_url)
    made.step()
    yield made
    made.redis.close()


def bystander(redis: redis_client.Redis) -> str:
    """A run whose success is emitted now."""
    run_id = make_run(RunState.STARTED)
    redis.xadd(STREAM, Entry(run_id, Event.SUCCEEDED, 0, now(), text="1").fields())
    return run_id


def test_poison_is_set_aside_and_the_rest_recorded(recorder: Recorder, redis: redis_client.Redis) -> None:
    bystanders = [bystander(redis)]
    for fields, _ in POISON.values():
        redis.xadd(STREAM, fields)
        bystanders.append(bystander(redis))
    assert recorder.step() == len(POISON) * 2 + 1
    assert {fresh(Run, run_id).state for run_id in bystanders} == {RunState.SUCCEEDED}
    found = rejected.newest(recorder.redis, 100)[::-1]
    reasons = {name: one.reason for name, one in zip(POISON, found, strict=True)}
    assert {name: reasons[name] for name, (_, part) in POISON.items() if part not in reasons[name]} == {}
    assert rejected.counted(recorder.redis) == len(POISON)
    assert lag(recorder.redis).entries == 0
    assert recorder.step() == 0


def test_what_can_be_written_in_another_way_is_recorded(
    context: Flask, recorder: Recorder, redis: redis_client.Redis
) -> None:
    ids = {name: str(uuid.uuid4()) for name in CURED}
    bystanders = [bystander(redis)]
    for name, fields in CURED.items():
        if fields["event"] != "published":
            make_run(RunState.STARTED, id=ids[name])
        redis.xadd(STREAM, fields | {"run": ids[name]})
        bystanders.append(bystander(redis))
    assert recorder.step() == 2 * len(CURED) + 1
    assert rejected.newest(recorder.redis, 1) == []
    assert {fresh(Run, run_id).state for run_id in bystanders} == {RunState.SUCCEEDED}
    visitor = Visitor(context, "viewer")
    for name, run_id in ids.items():
        assert_it_is_kept_readable(name, run_id)
        for path in (f"/runs/{run_id}", f"/runs/{run_id}/values/result", f"/runs/{run_id}/values/result.json"):
            assert visitor.get(path).status_code < 500, (name, path)
    for path in ("/runs", "/runs?q=caf", "/runs.csv", "/runs.json", "/failures", "/metrics"):
        assert visitor.get(path).status_code < 500, path
    assert fresh(Run, ids["name of a task of 304 characters"]).task == "t" * 254 + "…"
    assert fresh(Run, ids["half a surrogate in a progress text"]).progress_text == "caf\\udce9"
    assert (fresh(Run, ids["text of 1 MB"]).error or "").endswith("… cut here; 3,500,000 characters in all")


def assert_it_is_kept_readable(name: str, run_id: str) -> None:
    run = fresh(Run, run_id)
    with reading():
        lines = [*db.session.execute(sa.select(RunLine.level, RunLine.text).where(RunLine.run_id == run_id))]
    assert run.progress_at or lines or run.ended_at or run.sent_at, name
    kept = repr([getattr(run, column.name) for column in Run.__table__.columns]) + repr(lines)
    # As `repr` has a half surrogate and a NUL; escaped ones have a backslash that is one of the text.
    assert re.search(r"(?<!\\)\\(udce9|x00)", kept) is None, name


def test_what_only_the_database_refuses_is_found_by_halves(
    recorder: Recorder, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the checks before it do not know: here, that a row has an id at all."""
    ids = [str(uuid.uuid4()) for _ in range(9)]
    known = recording._ROWS[Event.PUBLISHED]

    def without_task(given: Entry) -> NewRun:
        row: NewRun = known(given)
        return row._replace(task=None) if given.run_id == ids[4] else row  # type: ignore[arg-type]  # what is refused

    monkeypatch.setitem(recording._ROWS, Event.PUBLISHED, without_task)
    for run_id in ids:
        redis.xadd(STREAM, published() | {"run": run_id})
    assert recorder.step() == 9
    with reading():
        assert set(db.session.scalars(sa.select(Run.id))) == {*ids} - {ids[4]}
    (found,) = rejected.newest(recorder.redis, 5)
    assert found.fields["run"] == ids[4]
    assert "not" in found.reason.lower()
    assert "null" in found.reason.lower()


def test_a_database_that_is_away_rejects_nothing(
    recorder: Recorder, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = bystander(redis)
    error = sa.exc.OperationalError("UPDATE", {}, Exception("the connection was lost"))

    def away(*_: Any) -> bool:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(recording, "apply", away)
        with pytest.raises(sa.exc.OperationalError):
            recorder.step()
    assert rejected.newest(recorder.redis, 1) == []
    assert lag(recorder.redis).entries == 1
    assert fresh(Run, run_id).state == RunState.STARTED


def test_an_end_is_recorded_although_its_schedule_cannot_be_looked_after(
    recorder: Recorder, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> bool:
        raise IndexError("list index out of range")

    monkeypatch.setattr(failure_budgets, "enforce", broken)
    ids = [bystander(redis), bystander(redis)]
    recorder.step()
    assert [fresh(Run, run_id).state for run_id in ids] == [RunState.SUCCEEDED] * 2
    assert rejected.newest(recorder.redis, 1) == []


def test_counters_of_another_program_stop_nothing(recorder: Recorder, redis: redis_client.Redis) -> None:
    redis.set(counters.KEY.format(worker="w"), "not a hash")
    redis.hset(
        counters.KEY.format(worker="v"), mapping={"e odd": "1", "b 99 add": "1", "x": "y", "e task-failed add": "2"}
    )
    run_id = make_run(RunState.STARTED)
    redis.xadd(STREAM, Entry(run_id, Event.SUCCEEDED, 0, now(), worker="w", task="add", seconds=1.0).fields())
    recorder.step()
    assert fresh(Run, run_id).state == RunState.SUCCEEDED
    assert lag(recorder.redis).entries == 0
    assert counters.read(recorder.redis, ["v"])["v", "add"].events == {"task-failed": 2.0}


def test_looking_for_an_end_passes_over_what_is_not_ours(recorder: Recorder, redis: redis_client.Redis) -> None:
    run_id = make_run(RunState.STARTED)
    redis.xadd(STREAM, {"run": run_id, "event": "failed"})
    redis.xadd(STREAM, {"run": run_id, "event": "failed", "attempt": "x", "at": AT, "text": b"\xff"})
    redis.xadd(STREAM, Entry(run_id, Event.SUCCEEDED, 0, now(), text="5").fields())
    found = pending_entries.end_of(recorder.redis, run_id, 0)
    assert found is not None
    assert (found.event, found.text) == (Event.SUCCEEDED, "5")


def test_it_is_bounded_and_shown(context: Flask, recorder: Recorder, redis: redis_client.Redis) -> None:
    visitor = Visitor(context, "viewer")
    assert "No rejected events" in visitor.get("/runs/rejected").text
    assert "/runs/rejected" not in visitor.get("/").text
    for _ in range(rejected.MAX_REJECTED + 5):
        rejected.append(recorder.redis, "1-1", {"run": ID}, "old")
    redis.xadd(STREAM, entry("failed", "<b>x</b>" * 10_000, attempt="first", worker=b"caf\xe9", task="add"))
    recorder.step()
    assert redis.xlen(rejected.REJECTED) == rejected.MAX_REJECTED
    page = visitor.get("/runs/rejected").text
    assert "Its attempt &#39;first&#39; is not a whole number" in page
    assert "caf\\xe9" in page
    assert f'href="/runs/{ID}"' in page
    assert "<b>x" not in page
    assert 'href="/runs/rejected"' in visitor.get("/").text
    admin = Visitor(context, "admin")
    assert f"beatdesk_recorder_rejected_total {rejected.MAX_REJECTED + 6}.0" in admin.get("/metrics").text


def test_readyz_shows_how_far_behind_a_stuck_recorder_is(
    context: Flask, recorder: Recorder, redis: redis_client.Redis
) -> None:
    def said() -> str:
        return str(context.test_client().get("/readyz").get_json()["checks"]["recorder"])

    assert said() == "ok"
    old = int(redis.time()[0] - 100) * 1000
    redis.delete(STREAM)
    redis.xadd(STREAM, {"foo": "bar"}, id=f"{old}-0")
    # It looks at most once a second, and the time goes on.
    wait_for(lambda: said().endswith(" s behind"))
    assert 100 <= int(said().split()[0]) < 120
    redis.xgroup_create(STREAM, GROUP, id="0")
    assert said() in ("100 s behind", "101 s behind", "102 s behind")
    recorder.step()
    wait_for(lambda: said() == "ok")
