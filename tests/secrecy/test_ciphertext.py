"""Ciphertext grants nothing by itself: submitting it in any way reveals no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
import yaml
from celery import signature
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.execution.canvas import options_of
from beatdesk.secrecy import sealing
from beatdesk.secrecy.masking import conceal, rule_of
from tests.scheduler.beats import FakeTime, Rig, drive, next_hour
from tests.secrecy import doors
from tests.secrecy.doors import CALL, CANARY, ECHO, SHOWN, VAULT, WHEN, calls_sent, sealed_as_before
from tests.secrecy.searching import places_in_database
from tests.servers import wait_for
from tests.support import reading
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.schedule_store import secret_arguments, stored
from webapp.schedule_store.rows import select_schedules
from webapp.schedules import service


@pytest.fixture(autouse=True)
def tasks(context: Flask) -> Iterator[None]:
    yield from doors.tasks()


@pytest.fixture
def schedule_id() -> int:
    return service.create({"name": "vault", "task": VAULT, **WHEN, "args": [f"{CANARY}-card"], "kwargs": CALL}).id


@pytest.fixture
def run_id() -> str:
    """A failed run, of which the arguments are kept."""
    run = control.launch(VAULT, [f"{CANARY}-card"], CALL, person=None)
    db.session.execute(sa.update(Run).values(state=RunState.FAILED, ended_at=now()))
    db.session.commit()
    return run.id


def exported(role: str, app: Flask) -> dict[str, Any]:
    """The vault, as a person with that role gets it in a file."""
    found = yaml.safe_load(Visitor(app, role).get("/schedules/export").text)["schedules"]
    return dict(next(one for one in found if one["name"] == "vault"))


def runs() -> int:
    with reading():
        return db.session.scalar(sa.select(sa.func.count()).select_from(Run)) or 0


def sealed_texts(app: Flask) -> list[str]:
    values = exported("scheduler", app)
    seals = [values["args"][0], values["kwargs"]["password"]]
    assert all(seal.startswith("sealed:v2:") for seal in seals)
    return [*seals, sealed_as_before(CANARY), "sealed:v9:anything"]


def test_sealed_text_is_refused_at_its_argument_by_every_door(
    context: Flask, runner: FlaskCliRunner, schedule_id: int, run_id: str, redis: redis_client.Redis
) -> None:
    admin, before, sent = Visitor(context, "admin"), runs(), len(calls_sent(redis))
    for seal in sealed_texts(context):
        for name, door in doors.doors(schedule_id, run_id).items():
            for task, kwargs in (
                (ECHO, {"text": {"deep": [seal]}}),
                (VAULT, {"url": seal}),
            ):
                answer = door(admin, task, kwargs)
                said = json.dumps(answer.get_json(), ensure_ascii=False) if answer.is_json else answer.text
                assert answer.status_code == 422, (name, task, kwargs)
                assert f"“{next(iter(kwargs))}” " in said, (name, said)
                assert CANARY not in said, name
        for action in ("run", "dry-run"):
            given = {"args": [], "kwargs": {"password": seal}}
            assert admin.post_json(f"/schedules/{schedule_id}/{action}", given).status_code == 422
        command = doors.by_command(runner, ECHO, {"text": seal})
        assert command.exit_code != 0
        assert "is a sealed text, which is not opened here" in command.output
    db.session.remove()
    assert (runs(), len(calls_sent(redis))) == (before, sent)
    with reading():
        assert service.get(schedule_id).row.version == 1


def test_mask_is_unchanged_for_the_same_task_and_argument_alone(
    context: Flask, schedule_id: int, run_id: str, redis: redis_client.Redis
) -> None:
    admin = Visitor(context, "admin")
    by_name = doors.doors(schedule_id, run_id)
    for name, door in by_name.items():
        for task, kwargs in (
            (ECHO, {"password": "•••"}),
            (VAULT, {**SHOWN, "url": "amqp://maya:•••@elsewhere/"}),
            (VAULT, {"password": "•••x"}),
        ):
            assert door(admin, task, kwargs).status_code == 422, (name, kwargs)
    for name in ("launch", "launch as JSON", "create", "create as JSON", "import"):
        assert by_name[name](admin, VAULT, SHOWN).status_code == 422, name
    for name in ("retry", "clone", "edit"):
        assert by_name[name](admin, VAULT, {**SHOWN, "room": 6, "card": "•••"}).status_code < 400, name
    edited = {**CALL, "room": 6, "card": f"{CANARY}-card"}
    assert calls_sent(redis)[0][:2] == [[], edited]
    with reading():
        made = service.name_taken("n")
        numbers = [one.id for one in stored.load(db.session, select_schedules())]
    assert made
    assert len(numbers) == 2
    for number in numbers:
        shown = {"args": [], "kwargs": {**SHOWN, "card": "•••"}}
        assert admin.post_json(f"/schedules/{number}/run", shown).status_code == 202
        assert calls_sent(redis)[0][:2] == [[], CALL | {"card": f"{CANARY}-card"}]
        # Another value, and back again to what the first version said.
        assert admin.post_json(f"/schedules/{number}", {"args": [], "kwargs": {"password": "other"}}).status_code == 200
        assert admin.post(f"/schedules/{number}/versions/1/restore").status_code == 303
        assert admin.post_json(f"/schedules/{number}/run", {}).status_code == 202
        first = [[f"{CANARY}-card"], CALL] if number == schedule_id else [[], edited]
        assert calls_sent(redis)[0][:2] == first
    assert places_in_database(CANARY) == []


def test_what_is_sealed_is_not_sealed_once_more(context: Flask, schedule_id: int) -> None:
    found = stored.find(db.session, schedule_id)
    assert found is not None
    assert secret_arguments.sealed(found.snapshot) == found.snapshot
    plain = {**found.snapshot, "kwargs": CALL}
    assert CANARY not in str(secret_arguments.sealed(plain)["kwargs"])


def test_forms_have_masks_and_never_what_was_typed(context: Flask, schedule_id: int, run_id: str) -> None:
    """The editor, its clone, a dry run, a retry, a refusal and the page for two who edit at once."""
    scheduler = Visitor(context, "scheduler")
    number, shown = f"/schedules/{schedule_id}", {f"arg.{name}": str(text) for name, text in SHOWN.items()}
    for path in (f"{number}/edit", f"/schedules/new?clone={schedule_id}", f"/runs/new?from={run_id}"):
        page = " ".join(scheduler.get(path).text.split())
        assert page.count('value="•••"') == 2, path
        assert 'value="amqp://maya:•••@broker/"' in page, path
    form = {"name": "vault", "task": VAULT, **WHEN, "mode": "fields", **shown, "arg.card": "•••"}
    cloned = scheduler.post("/schedules", {**form, "name": "copy", "clone": schedule_id})
    assert cloned.status_code == 303
    copy = service.get(int(cloned.location.rpartition("/")[2])).snapshot
    assert secret_arguments.opened(copy).plain == ([], CALL | {"card": f"{CANARY}-card"})
    db.session.rollback()
    typed = {**form, "arg.password": f"{CANARY}-typed", "arg.url": f"amqp://maya:{CANARY}@other/"}
    json_typed = {"mode": "json", "args": "[]", "kwargs": json.dumps({"password": f"{CANARY}-typed"})}
    for sent in (typed, json_typed):
        for path, more in (
            (number, {"version": 1, "name": ""}),
            ("/runs/new", {"priority": "99"}),
            (number, {"version": 9}),
        ):
            answer = scheduler.post(
                path, {**form, **sent, **more} if sent is typed else {"task": VAULT, **sent, **more}
            )
            assert answer.status_code in (409, 422), path
            assert CANARY not in answer.text, (path, more)
            assert "ype it again" in answer.text, (path, more)
    tried = scheduler.post(f"{number}/dry-run", {**form, "arg.room": "7"})
    assert "Run with these arguments" in tried.text
    assert CANARY not in tried.text
    assert "Run with these arguments" not in scheduler.post(f"{number}/dry-run", typed).text


def test_only_people_who_may_import_see_ciphertext(context: Flask, schedule_id: int, run_id: str) -> None:
    service.save(schedule_id, {"kwargs": {**CALL, "password": f"{CANARY}-2"}})
    number = f"/schedules/{schedule_id}"
    pages = ["/", "/schedules", number, "/schedules/export?format=python", "/runs", "/runs.csv", "/runs.json"]
    pages += [f"/runs/{run_id}", f"/runs/{run_id}/values/kwargs", f"/runs/{run_id}/values/args.json", "/audit"]
    pages += [f"{number}/edit", f"/schedules/new?clone={schedule_id}", f"/runs/new?from={run_id}", "/schedules/export"]
    pages += [f"/runs?q={CANARY}", f"/runs?q={CALL['password']}"]
    for role in ("viewer", "operator", "scheduler", "admin"):
        visitor = Visitor(context, role)
        for page in pages:
            for accept in ("text/html", "application/json"):
                answer = visitor.get(page, accept=accept)
                shown = answer.text.replace(f"{CANARY}-word", "").replace(CANARY, "") if "?q=" in page else answer.text
                assert CANARY not in shown, (role, page)
                may_have_it = page == "/schedules/export" and role in ("scheduler", "admin")
                assert ("sealed:v" in shown) == may_have_it, (role, page)
    values = exported("viewer", context)
    assert (values["args"], values["kwargs"]) == (["•••"], SHOWN)


def test_seal_of_an_export_opens_for_its_task_and_argument_alone(context: Flask, schedule_id: int) -> None:
    scheduler, values = Visitor(context, "scheduler"), exported("scheduler", context)
    word, card = values["kwargs"]["password"], values["args"][0]

    def step(**changes: Any) -> dict[str, Any]:
        file = json.dumps({"schedules": [{**values, "name": "again", **changes}]})
        found = scheduler.post_json("/schedules/import", {"file": file}).get_json()["steps"][0]
        return dict(found)

    assert step()["action"] == "create"
    for changes in (
        {"task": ECHO, "args": [], "kwargs": {"password": word}},
        {"kwargs": {"password": values["kwargs"]["url"]}},
        {"args": [word]},
        {"args": [], "kwargs": {"card": card}},
        {"args": [], "kwargs": {"password": word[:-4]}},
        {"args": [], "kwargs": {"password": sealed_as_before("x")}},
    ):
        assert step(**changes)["action"] == "refuse", changes
    sealing.use("the-secret-key-of-another-instance")
    assert step()["action"] == "refuse"
    sealing.use(context.config["SECRET_KEY"])


def test_what_other_programs_send_is_not_opened(context: Flask, schedule_id: int, redis: redis_client.Redis) -> None:
    for seal in sealed_texts(context):
        assert conceal(rule_of(celery.tasks[ECHO]), [seal], {}).plain[0] == [seal]
        chain = [dict(signature(ECHO, args=[seal], kwargs={"password": seal}))]
        run = Run(id=control.launch(ECHO, ["x"], person=None).id)
        options = options_of({"chain": chain}, {})
        db.session.execute(sa.update(Run).where(Run.id == run.id).values(options=options))
        db.session.commit()
        redis.delete("beatdesk")
        # The broker has lost it, and beat sends it again.
        sending.publish([db.session.get_one(Run, run.id)])
        ((_, _, embedded),) = calls_sent(redis)
        assert (embedded["chain"][0]["args"], embedded["chain"][0]["kwargs"]) == ([seal], {"password": seal})


def test_row_opens_what_was_sealed_for_it_and_nothing_else(
    context: Flask, schedule_id: int, beats: Rig, redis: redis_client.Redis
) -> None:
    """By version 1 where the argument is secret."""
    at: datetime = now()
    before, word = sealed_as_before(f"{CANARY}-old"), exported("scheduler", context)["kwargs"]["password"]
    for name, task, kwargs in (
        ("old", VAULT, {"password": before}),
        ("moved", ECHO, {"password": word}),
        ("echo", ECHO, {"text": before}),
    ):
        beats.crontab(name, "0 * * * *", saved=at, task=task, args="[]", kwargs=json.dumps(kwargs))
    time = FakeTime(at)
    core = beats.leading(time)
    drive(core, time, next_hour(at))

    def sent() -> bool:
        time.pass_by(1)
        core.step(woken=True)
        return len(calls_sent(redis)) == 1

    wait_for(sent)
    assert calls_sent(redis)[0][:2] == [[], {"password": f"{CANARY}-old"}]
    with reading():
        assert db.session.execute(sa.select(Run.origin, Run.kwargs)).all() == [
            (Origin.SCHEDULE, json.dumps({"password": "•••"}))
        ]
