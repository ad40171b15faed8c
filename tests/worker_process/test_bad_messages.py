"""No message ends a worker: what cannot be executed fails its run, or is discarded and counted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.ids import id_of_task, new_id
from tests import processes
from tests.rabbitmq import rabbitmq, url
from tests.runs.making import make_run
from tests.servers import wait_for
from tests.support import fresh, reading
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.worker_process import discards

pytestmark = pytest.mark.slow

OTHER_QUEUE = "shared"
# What any program may have put into the list of a queue.
ITEMS = [b"not json", b"\xff\xfe\x00", b"5", b"[]", b"{}", b'{"properties": {}}', b'{"properties": 1, "body": 2}']
GOOD = {"id": "a", "task": "add", "lang": "py"}
BODY = json.dumps([[1, 2], {}, {}])
JSON = "application/json"


@pytest.fixture(params=["redis", "rabbitmq"])
def settings(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    with ExitStack() as stack:
        if request.param == "redis":
            yield settings
        else:
            folder = tmp_path / "rabbitmq"
            folder.mkdir()
            yield settings.with_changes(broker_url=url(stack.enter_context(rabbitmq(folder))))


def odd_messages() -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Bodies, headers, and what else is said of the message."""
    bodies = ["5", "[]", "{}", '"text"', "null", "[[1, 2], {}]", "[5, 6, 7]", "{", b"\xff\xfe", ""]
    plain: dict[str, Any] = {"content_type": JSON, "content_encoding": "utf-8"}
    return [
        *((body, GOOD | {"id": str(uuid.uuid4())}, plain) for body in bodies),
        *((body, {}, plain) for body in (*bodies, BODY)),
        (BODY, {"task": "add"}, plain),
        (BODY, GOOD | {"task": ["add"]}, plain),
        (BODY, GOOD | {"task": None}, plain),
        (BODY, GOOD | {"task": "x" * 304}, plain),
        (BODY, GOOD | {"id": 5}, plain),
        (BODY, GOOD | {"id": None}, plain),
        (BODY, GOOD | {"eta": "tomorrow"}, plain),
        (BODY, GOOD | {"expires": "never"}, plain),
        (BODY, GOOD | {"retries": "many"}, plain),
        (BODY, GOOD | {"id": ["a"]}, plain),
        (BODY, GOOD | {"group_index": 2**40}, plain),
        (BODY, GOOD | {"stamped_headers": 5, "expires": "2000-01-01T00:00:00"}, plain),
        (BODY, GOOD | {"timelimit": "soon"}, plain),
        (BODY.encode(), GOOD, {"content_type": "application/x-python-serialize", "content_encoding": "binary"}),
        (BODY.encode(), GOOD, {"content_type": JSON, "content_encoding": "no-such-encoding"}),
        (BODY, GOOD | {"compression": "no-such-compression"}, plain),
    ]


@pytest.fixture
def publish(context: Flask, settings: Settings) -> Iterator[Any]:
    with kombu.Connection(settings.broker_url) as connection, connection.Producer(auto_declare=False) as producer:
        # The other program's, which has it declared.
        kombu.Queue(OTHER_QUEUE, channel=connection.default_channel).declare()

        def send(body: Any, headers: Any = None, queue: str = DEFAULT_QUEUE, **more: Any) -> None:
            producer.publish(body, routing_key=queue, headers=headers or {}, **more)

        yield send


def rows(task: str) -> list[Run]:
    with reading():
        found = list(db.session.scalars(sa.select(Run).where(Run.task == task)))
        db.session.expunge_all()
        return found


def finish(run_id: str) -> Run:
    wait_for(lambda: fresh(Run, run_id).ended, seconds=30)
    return fresh(Run, run_id)


def test_no_message_ends_a_worker(context: Flask, settings: Settings, redis: redis_client.Redis, publish: Any) -> None:
    with (
        processes.recorder(settings),
        processes.worker(settings, "--concurrency", "1", "-Q", f"{DEFAULT_QUEUE},{OTHER_QUEUE}") as worker,
    ):
        if settings.broker_url.startswith("redis"):
            for item in ITEMS:
                redis.lpush(DEFAULT_QUEUE, item)
        for body, headers, more in odd_messages():
            publish(body, headers, **more)
        # Ours, and a plain client's, of a task that no worker knows.
        ours = make_run(RunState.QUEUED, id=new_id(), task="unknown.task")
        for task_id, queue in ((ours, DEFAULT_QUEUE), ("theirs", DEFAULT_QUEUE), ("shared", OTHER_QUEUE)):
            headers = {"id": task_id, "task": "unknown.task", "lang": "py"}
            publish(BODY, headers, queue, content_type=JSON, content_encoding="utf-8")
        bystander = control.launch("add", [2, 3])
        assert finish(bystander.id).result == "5"
        assert finish(ours).error == "NotExecutable: no worker knows this task"
        theirs = finish(id_of_task("theirs"))
        assert (theirs.state, theirs.origin, theirs.external_id) == (RunState.FAILED, Origin.PROGRAM, "theirs")
        # What is not in a queue of ours is named, and has no row.
        wait_for(lambda: [each for each in discards.read(redis) if each.queue == OTHER_QUEUE])
        [named] = [each for each in discards.read(redis) if each.queue == OTHER_QUEUE]
        assert (named.task, named.count) == ("unknown.task", 1)
        assert len(rows("unknown.task")) == 2
        # It is the same process as in the beginning, and goes on.
        assert worker.popen.poll() is None
        assert finish(control.launch("add", [4, 5]).id).result == "9"
        wait_for(lambda: not [row for row in rows("add") if not row.ended and row.started_at], seconds=20)
