"""Runs that no Beatdesk worker claims are settled by the queue, the result backend and the workers' answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery import Celery

from beatdesk.secrecy.masking import Rule, conceal
from tests.scheduler.beats import RUNS, FakeTime, Rig
from tests.servers import wait_for
from webapp.extensions import celery
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.scheduler.backlog import Backlog
from webapp.scheduler.core import Core
from webapp.scheduler.foreign import outcomes
from webapp.scheduler.foreign.consumers import Answer, ConsumerLog
from webapp.scheduler.foreign.settling import ACTIVE

pytestmark = pytest.mark.each_database


class Scene:
    """A beat that settles, on a clock that the test moves; what workers have in hand is what the test says."""

    def __init__(self, beats: Rig, redis: redis_client.Redis, results: redis_client.Redis) -> None:
        self.beats, self.redis, self.results = beats, redis, results
        self.time = FakeTime(datetime.now(UTC))
        self.core: Core = beats.leading(self.time)
        # It has looked at the broker, which is not taken for one that forgot.
        wait_for(lambda: self.core.publisher.idle)
        self.in_hand: Mapping[str, Mapping[str, str]] | None = {}

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.time.wall_now, UTC)

    def run(self, id_: str, **values: Any) -> str:
        """A run that was sent to another project's queue."""
        row = {"task": "add", "args": "[1, 2]", "kwargs": "{}", "queue": "shop", "state": "queued", "sends": 1}
        with self.beats.engine.begin() as connection:
            connection.execute(
                sa.insert(RUNS).values(id=id_, created_at=self.now, **{"sent_at": self.now, **row, **values})
            )
        return id_

    def row(self, id_: str) -> Any:
        with self.beats.engine.connect() as connection:
            return connection.execute(sa.select(RUNS).where(RUNS.c.id == id_)).one()

    def state(self, id_: str) -> str:
        return str(self.row(id_).state)

    def waits(self, *ids: str, key: str = "shop") -> None:
        """Their messages lie in a list of the broker."""
        self.redis.lpush(key, *(json.dumps({"body": "", "headers": {"id": id_}}) for id_ in ids))

    def result(self, id_: str, status: str, result: Any = None, **more: Any) -> None:
        """The content of Celery's result backend."""
        meta = {"status": status, "result": result, "task_id": id_, "date_done": self.now.isoformat(), **more}
        self.results.set(f"celery-task-meta-{id_}", json.dumps(meta))

    def look(self, *, after: float = 0) -> None:
        """One look, so many seconds later."""
        self.time.pass_by(after)
        self.core.step(woken=True)
        settling, connection = self.core.observer._settling, celery.connection_for_write()
        settling.answered(self.now)
        sender = self.core.observer._sender
        settling.look(Backlog(connection), sender.queue_of, lambda _: self.in_hand)
        settling.fail_never_claimed(Backlog(connection), sender.queue_of, lambda _: self.in_hand)
        connection.close()

    def consumer(self, queue: str, node: str, *, claims: bool, seen_at: datetime | None = None) -> None:
        at = seen_at or self.now
        with self.beats.engine.begin() as connection:
            connection.execute(sa.delete(QueueConsumer).where(QueueConsumer.node == node))
            row = {"queue": queue, "node": node, "claims": claims, "first_seen_at": at, "seen_at": at}
            connection.execute(sa.insert(QueueConsumer).values(row))


@pytest.fixture
def scene(beats: Rig, redis: redis_client.Redis, valkey_url: str) -> Scene:
    results = redis_client.Redis.from_url(f"{valkey_url.rsplit('/', 1)[0]}/1", decode_responses=True)
    return Scene(beats, redis, results)


def test_what_waits_stays_queued_and_what_is_gone_is_unconfirmed_after_a_minute(scene: Scene) -> None:
    in_list, urgent, in_hand, gone = (scene.run(name) for name in ("list", "urgent", "hand", "gone"))
    scene.waits(in_list)
    scene.waits(urgent, key="shop\x06\x169")
    scene.redis.hset("unacked", "tag", json.dumps([{"body": "", "headers": {"id": in_hand}}, "", "shop"]))
    scene.look()
    scene.look(after=59)
    assert scene.state(gone) == "queued"
    scene.look(after=2)
    row = scene.row(gone)
    assert (row.state, row.sends) == ("unconfirmed", 1)
    assert row.reason == "Its message has left the queue “shop”, and no result came within a minute."
    scene.look(after=86_400)
    assert [scene.state(id_) for id_ in (in_list, urgent, in_hand)] == ["queued"] * 3
    # Long in the list and gone then: its minute begins at that moment.
    scene.redis.delete("shop")
    scene.look()
    assert scene.state(in_list) == "queued"
    scene.look(after=61)
    assert scene.state(in_list) == "unconfirmed"


def test_thousands_of_runs_are_settled_in_one_look(scene: Scene) -> None:
    rows = [
        {
            "id": f"r{number}",
            "task": "add",
            "args": "[]",
            "kwargs": "{}",
            "queue": "shop",
            "state": "queued",
            "sends": 1,
        }
        for number in range(2_000)
    ]
    with scene.beats.engine.begin() as connection:
        connection.execute(sa.insert(RUNS).values(created_at=scene.now, sent_at=scene.now), rows)
    scene.waits(*(f"r{number}" for number in range(1_000)))
    scene.look()
    scene.look(after=61)
    with scene.beats.engine.connect() as connection:
        found = connection.execute(sa.select(RUNS.c.state, sa.func.count()).group_by(RUNS.c.state))
        assert dict(tuple(row) for row in found) == {"queued": 1_000, "unconfirmed": 1_000}


FAILURE = {"exc_type": "ValueError", "exc_message": ["bad", 3], "exc_module": "builtins"}


RESULTS: list[tuple[Any, Any, str, dict[str, Any]]] = [
    ("SUCCESS", {"a": [1, None]}, "succeeded", {"result": '{"a": [1, null]}'}),
    ("SUCCESS", {"password": "hush"}, "succeeded", {"result": '{"password": "•••"}'}),
    ("SUCCESS", "half \udce4 and \x00", "succeeded", {}),
    ("FAILURE", FAILURE, "failed", {"error": "ValueError: bad, 3", "traceback": "Traceback …"}),
    ("FAILURE", "no record of an exception", "failed", {"error": "no record of an exception"}),
    ("FAILURE", {"exc_type": ["odd"], "exc_message": None}, "failed", {}),
    ("FAILURE", {"exc_type": "half \udce4", "exc_message": "\x00"}, "failed", {}),
    ("REVOKED", {"exc_type": "TaskRevokedError", "exc_message": ["terminated"]}, "revoked", {}),
    ("RETRY", FAILURE, "retrying", {"reason": "ValueError: bad, 3"}),
    ("STARTED", {"pid": 1, "hostname": "celery@a"}, "started", {"worker": "celery@a"}),
    ("PROGRESS", {"current": 1}, "started", {"worker": None}),
    ("PENDING", None, "queued", {}),
    (["odd"], None, "queued", {}),
]


def test_result_backend_settles_each_run(scene: Scene) -> None:
    for number, (status, result, _, _) in enumerate(RESULTS):
        scene.result(scene.run(f"r{number}"), status, result, traceback="Traceback …")
    odd = [b"\x80\x04N.", b"[]", b"{", b'{"status": 3}', b'{"result": 1}']
    for number, record in enumerate(odd):
        scene.results.set(f"celery-task-meta-{scene.run(f'odd{number}')}", record)
    scene.result(scene.run("last"), "SUCCESS", 1, worker="celery@b", date_done="no moment")
    scene.look()
    scene.look()
    for number, (_, _, state, kept) in enumerate(RESULTS):
        row = scene.row(f"r{number}")
        assert (row.state, {name: getattr(row, name) for name in kept}) == (state, kept), RESULTS[number]
    assert {scene.state(f"odd{number}") for number in range(len(odd))} == {"queued"}
    assert (scene.state("last"), scene.row("last").worker) == ("succeeded", "celery@b")


def test_results_in_the_database_of_the_broker_settle_runs_too(scene: Scene) -> None:
    theirs = scene.run("theirs", origin="program", received_at=scene.now)
    scene.results = scene.redis
    scene.result(theirs, "SUCCESS", 5)
    scene.look()
    assert (scene.state(theirs), scene.row(theirs).result) == ("succeeded", "5")


def test_secret_arguments_are_masked_in_what_the_backend_repeats(scene: Scene) -> None:
    call = conceal(Rule(), [1], {"password": "hush hush"})
    run_id = scene.run("r", args=json.dumps(call.args), kwargs=json.dumps(call.kwargs), sealed=call.sealed())
    scene.result(
        run_id, "FAILURE", {"exc_type": "ValueError", "exc_message": "not hush hush"}, traceback="in hush hush"
    )
    scene.look()
    assert (scene.row(run_id).error, scene.row(run_id).traceback) == ("ValueError: not •••", "in •••")


def test_what_a_worker_has_in_hand_is_not_unconfirmed(scene: Scene) -> None:
    executed, waits, scheduled = scene.run("executed"), scene.run("waits"), scene.run("scheduled", state="retrying")
    scene.in_hand = {"celery@a": {executed: ACTIVE, waits: "reserved", scheduled: "scheduled"}}
    for _ in range(4):
        scene.look(after=61)
    assert [scene.state(id_) for id_ in (executed, waits, scheduled)] == ["started", "queued", "retrying"]
    assert scene.row(executed).worker == "celery@a"
    # One that is online does not answer, so the outcome is unknown.
    scene.in_hand = None
    for _ in range(4):
        scene.look(after=61)
    assert scene.state(waits) == "queued"
    # It answers, and has them no longer: a minute is left for a result.
    scene.in_hand = {"celery@a": {}}
    scene.look()
    assert scene.state(executed) == "started"
    for _ in range(2):
        scene.look(after=61)
    assert [scene.state(id_) for id_ in (executed, waits, scheduled)] == ["unconfirmed"] * 3
    assert "celery@a does not have it any more" in scene.row(executed).reason


def test_a_run_that_began_is_unconfirmed_once_its_worker_falls_silent(scene: Scene) -> None:
    begun = {"state": "started", "started_at": scene.now}
    silent, alive = scene.run("silent", worker="celery@a", **begun), scene.run("alive", worker="celery@b", **begun)
    never = scene.run("never", worker="celery@c", **begun)
    for _ in range(3):
        scene.consumer("shop", "celery@b", claims=False)
        scene.look(after=30)
        scene.consumer("shop", "celery@a", claims=False, seen_at=scene.now - timedelta(seconds=61))
    scene.consumer("shop", "celery@b", claims=False)
    scene.look(after=10)
    assert [scene.state(id_) for id_ in (silent, alive, never)] == ["unconfirmed", "started", "started"]
    scene.result(silent, "STARTED", {"hostname": "celery@a"})
    scene.look(after=61)
    assert scene.state(silent) == "unconfirmed"


def test_what_another_program_sent_is_known_by_its_own_id(scene: Scene) -> None:
    """A worker has received or begun it; then its events were lost."""
    theirs = {"origin": "program", "queue": None, "worker": "celery@a", "external_id": "daily"}
    received = scene.run("received", **theirs)
    begun = scene.run("begun", state="started", started_at=scene.now, **theirs | {"external_id": "hourly"})
    ours = scene.run("ours", **theirs | {"external_id": "weekly"}, claims=1)
    # What an earlier run of that id left behind.
    scene.result("daily", "SUCCESS", 1, date_done=(scene.now - timedelta(seconds=1)).isoformat())
    scene.in_hand = {"celery@a": {"daily": "reserved", "hourly": ACTIVE}}
    for _ in range(3):
        scene.look(after=61)
    assert [scene.state(id_) for id_ in (received, begun, ours)] == ["queued", "started", "queued"]
    scene.in_hand = {"celery@a": {}}
    scene.result("daily", "SUCCESS", 2)
    for _ in range(3):
        scene.look(after=61)
    assert [scene.state(id_) for id_ in (received, begun, ours)] == ["succeeded", "unconfirmed", "queued"]
    assert scene.row(received).result == "2"
    assert scene.row(begun).reason.startswith("It started, but its worker celery@a does not have it any more")


def test_an_unconfirmed_run_is_asked_for_for_a_day(scene: Scene) -> None:
    runs = [scene.run(f"r{hours}", state="unconfirmed", ended_at=scene.now) for hours in (1, 20, 40)]
    for hour in range(48):
        if hour in (1, 20, 40):
            scene.result(f"r{hour}", "SUCCESS", hour)
        scene.look(after=3_600)
    assert [scene.state(id_) for id_ in runs] == ["succeeded", "succeeded", "unconfirmed"]


def test_a_guarded_run_that_was_sent_five_times_in_vain_fails(scene: Scene) -> None:
    lost = {"queue": None, "sent_at": scene.now - timedelta(minutes=20)}
    vain, fewer, claimed, held, waits = (
        scene.run(name, sends=sends, claims=claims, **lost)
        for name, sends, claims in (("vain", 5, 0), ("fewer", 4, 0), ("claimed", 5, 1), ("held", 5, 0), ("waits", 5, 0))
    )
    scene.in_hand = {"beatdesk@a": {held: "reserved"}}
    scene.waits(waits, key=DEFAULT_QUEUE)
    scene.look()
    assert [scene.state(id_) for id_ in (fewer, claimed, held, waits)] == ["queued"] * 4
    assert scene.state(vain) == "failed"
    assert scene.row(vain).error.startswith("NeverClaimed: it was sent 5 times")


def _recorded(scene: Scene, log: ConsumerLog, *answers: Answer) -> set[tuple[str, str, bool]]:
    with scene.beats.engine.begin() as connection:
        log.record(connection, answers, scene.now)
        rows = connection.execute(sa.select(QueueConsumer.queue, QueueConsumer.node, QueueConsumer.claims))
        return {(row.queue, row.node, row.claims) for row in rows}


def _worker(scene: Scene, name: str, *queues: str) -> None:
    with scene.beats.engine.begin() as connection:
        row = {"id": name, "name": name, "host": "a", "pid": 1, "pool": "solo", "concurrency": 1}
        connection.execute(sa.insert(Worker).values(**row, queues=json.dumps(queues), seen_at=datetime.now(UTC)))


def test_only_a_living_worker_of_ours_claims(scene: Scene) -> None:
    log = ConsumerLog()
    _worker(scene, "beatdesk@a", "q", "shop")
    mine, foreign = Answer("beatdesk@a", frozenset({"q", "shop"})), Answer("celery@a", frozenset({"shop"}))
    seen = {("q", "beatdesk@a", True), ("shop", "beatdesk@a", True), ("shop", "celery@a", False)}
    assert _recorded(scene, log, mine, foreign) == seen
    # Another worker under the name of ours.
    both = seen | {("cakes", "beatdesk@a", False)}
    assert _recorded(scene, log, mine, Answer("beatdesk@a", frozenset({"cakes"}))) == both
    # No worker answers: what was known stays, for a day.
    scene.time.pass_by(3_600)
    assert _recorded(scene, log) == both
    scene.time.pass_by(86_400)
    assert _recorded(scene, log, mine) == {("q", "beatdesk@a", True), ("shop", "beatdesk@a", True)}


def test_a_worker_of_ours_that_answers_before_it_has_its_row_is_ours_afterwards(scene: Scene) -> None:
    log, answer = ConsumerLog(), Answer("beatdesk@a", frozenset({"q"}))
    assert _recorded(scene, log, answer) == {("q", "beatdesk@a", False)}
    _worker(scene, "beatdesk@a", "q")
    assert _recorded(scene, log, answer) == {("q", "beatdesk@a", True)}


def test_a_broker_that_is_no_result_backend_is_left_out() -> None:
    app = Celery("tls", broker="rediss://broker:6380/0", backend="cache+memory://", set_as_current=False)
    app.conf.broker_use_ssl = {"ssl_cert_reqs": "required"}
    assert outcomes._backends(app) == [app.backend]
