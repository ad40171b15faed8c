"""Secret arguments of runs: sealed in their row, masked wherever they are shown, complete when executed."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from importlib import import_module
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.events import Entry, Event
from beatdesk.execution.host import Delivery
from beatdesk.secrecy import masking, sealing
from tests.scheduler.beats import FakeTime, Rig, drive, next_hour
from tests.secrecy.searching import places_in_database
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.recorder import recording
from webapp.run_store import claims, sending
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.runs.call.launch_form import prefilled
from webapp.web.errors import Conflict

CANARY = "canary-7d1f"
TASK = "samples.charge"
SAMPLES = "tests.runs.sample_tasks"
CALL: dict[str, Any] = {"card": f"{CANARY}-card", "password": f"{CANARY}-word", "path": "somewhere"}
SHOWN = {"card": "•••", "password": "•••", "path": "somewhere"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    import_module(SAMPLES)
    return settings.with_changes(task_modules=(SAMPLES,))


def messages(redis: redis_client.Redis) -> list[tuple[dict[str, Any], list[Any]]]:
    """Headers, and what is to be executed, of each run; a beat that begins to lead sends again what may be lost."""
    found = {one["headers"]["id"]: one for one in map(json.loads, redis.lrange("beatdesk", 0, -1))}
    return [(one["headers"], json.loads(b64decode(one["body"]))[:2]) for one in found.values()]


def launch() -> Run:
    run = create_run(db.session, TASK, [], CALL, origin=Origin.LAUNCH)
    db.session.commit()
    return run


def end(run: Run, event: Event) -> None:
    with db.engine.begin() as connection:
        recording.apply(connection, [Entry(run.id, event, 0, now(), text="null")])


def test_message_has_the_secrets_and_the_row_has_not(context: Flask, redis: redis_client.Redis) -> None:
    run = control.launch(TASK, [CALL["card"]], {"password": CALL["password"], "path": "x"}, person=None)
    ((headers, called),) = messages(redis)
    assert called == [[CALL["card"]], {"password": CALL["password"], "path": "x"}]
    assert CANARY not in json.dumps(headers)
    assert places_in_database(CANARY) == []
    kept = fresh(Run, run.id)
    assert (json.loads(kept.args), json.loads(kept.kwargs)) == (["•••"], {"password": "•••", "path": "x"})


def test_ordinary_run_is_not_sealed(context: Flask) -> None:
    run = create_run(db.session, "add", [1, 2], origin=Origin.LAUNCH)
    assert (run.args, run.kwargs, run.sealed) == ("[1, 2]", "{}", None)


def test_sealed_call_is_deleted_when_nothing_needs_it_any_more(context: Flask) -> None:
    succeeded, failed = launch(), launch()
    end(succeeded, Event.SUCCEEDED)
    end(failed, Event.FAILED)
    assert fresh(Run, succeeded.id).sealed is None
    assert masking.call_of(fresh(Run, failed.id)) == ([], CALL)
    again = control.retry(fresh(Run, failed.id), person=None)
    assert masking.call_of(again) == ([], CALL)
    with pytest.raises(Conflict, match="were deleted when it succeeded"):
        control.retry(fresh(Run, succeeded.id), person=None)
    form = prefilled(fresh(Run, succeeded.id))
    assert {name: form.call.values[f"arg.{name}"] for name in CALL} == {"card": "", "password": "", "path": "somewhere"}


def test_another_secret_key_fails_the_retry_with_words(context: Flask) -> None:
    run = launch()
    end(run, Event.FAILED)
    sealing.use("another-secret-key-of-some-length")
    with pytest.raises(Conflict, match="another SECRET_KEY"):
        control.retry(fresh(Run, run.id), person=None)
    assert sending.publish([fresh(Run, run.id)]) == []


def test_run_that_was_sent_past_us_is_adopted_without_its_secrets(context: Flask, redis: redis_client.Redis) -> None:
    celery.send_task(TASK, [], CALL)
    ((headers, called),) = messages(redis)
    assert called == [[], CALL]
    assert CANARY not in json.dumps(headers)
    call = masking.conceal(masking.rule_of(celery.tasks[TASK]), [], called[1])
    texts = (json.dumps(call.args), json.dumps(call.kwargs))
    with db.engine.begin() as connection:
        claims.claim(connection, Delivery(headers["id"], TASK, *texts, 0, "w", "w", sealed=call.sealed()), now())
    adopted = fresh(Run, headers["id"])
    assert adopted.state == RunState.STARTED
    assert masking.call_of(adopted) == ([], CALL)
    assert places_in_database(CANARY) == []


def test_pages_show_masks_and_never_send_a_secret_back(context: Flask) -> None:
    operator = Visitor(context, "operator")
    form = {"task": TASK, **{f"arg.{name}": text for name, text in CALL.items()}, "priority": "99"}
    refused = operator.post("/runs/new", form)
    assert refused.status_code == 422
    assert CANARY not in refused.text
    assert 'type="password" id="arg.card"' in " ".join(refused.text.split())
    assert 'value="somewhere"' in refused.text
    launched = operator.post("/runs/new", form | {"priority": ""})
    for path in (launched.location, "/runs", "/runs.csv", "/runs.json", "/runs/new?from=" + launched.location[6:]):
        answer = operator.get(path)
        assert answer.status_code == 200, path
        assert CANARY not in answer.text, path
    shown = operator.get(launched.location, accept="application/json").get_json()
    assert shown["kwargs"] == SHOWN
    assert "sealed" not in shown
    typed = {"task": TASK, "mode": "json", "args": "[]", "kwargs": json.dumps(SHOWN)}
    assert "type it again" in operator.post("/runs/new", typed).text


def fire(beats: Rig, redis: redis_client.Redis, at: datetime, runs: int) -> None:
    """Let the next full hour come, and beat send what it has made until then."""
    time = FakeTime(at)
    core = beats.leading(time)
    drive(core, time, next_hour(at))

    def sent() -> bool:
        time.pass_by(1)
        core.step(woken=True)
        return len(messages(redis)) == runs

    wait_for(sent)


def test_schedule_keeps_its_secrets_sealed_and_fires_with_them(
    context: Flask, beats: Rig, redis: redis_client.Redis
) -> None:
    scheduler = Visitor(context, "scheduler")
    fields = {"name": "c", "task": TASK, "kind": "crontab", "crontab": "0 * * * *", "timezone": "UTC"}
    saved = scheduler.post_json("/schedules", {**fields, "kwargs": CALL, "enabled": True})
    assert saved.status_code in (200, 201), saved.text
    number = saved.get_json()["id"]
    page = scheduler.get(f"/schedules/{number}")
    assert page.status_code == 200
    assert CANARY not in page.text
    assert scheduler.get(f"/schedules/{number}", accept="application/json").get_json()["kwargs"] == SHOWN
    # A mask stands for what the schedule has there.
    edited = scheduler.post_json(f"/schedules/{number}", {"kwargs": {**SHOWN, "path": "elsewhere"}})
    assert edited.status_code == 200, edited.text
    assert scheduler.post(f"/schedules/{number}/run", {}).status_code == 303
    assert places_in_database(CANARY) == []
    fire(beats, redis, now(), runs=2)
    assert [called for _, called in messages(redis)] == [[[], {**CALL, "path": "elsewhere"}]] * 2
    assert CANARY not in json.dumps([headers for headers, _ in messages(redis)])
    assert places_in_database(CANARY) == []
    with reading():
        shown = db.session.scalars(sa.select(Run.kwargs)).all()
    assert [json.loads(text) for text in shown] == [{**SHOWN, "path": "elsewhere"}] * 2


def test_schedule_that_was_written_by_hand_makes_runs_without_secrets(beats: Rig, redis: redis_client.Redis) -> None:
    at = now()
    beats.crontab("c", "0 * * * *", saved=at, task=TASK, args="[]", kwargs=json.dumps(CALL))
    fire(beats, redis, at, runs=1)
    assert messages(redis)[0][1] == [[], CALL]
    assert CANARY not in str(beats.runs())


def test_run_that_cannot_be_decrypted_fails_with_the_reason(context: Flask, beats: Rig) -> None:
    run = launch()
    db.session.execute(sa.update(Run).values(sealed="v1:another"))
    db.session.commit()
    time = FakeTime(now())
    core = beats.leading(time)

    def failed() -> bool:
        time.pass_by(2)
        core.step(woken=True)
        return fresh(Run, run.id).state == RunState.FAILED

    wait_for(failed)
    assert "SECRET_KEY" in (fresh(Run, run.id).error or "")
