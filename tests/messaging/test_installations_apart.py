"""Each process stops at the mark of another installation: at its start, or once the server is back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import redis as redis_client
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.execution.events import STREAM
from tests import processes
from tests.rabbitmq import rabbitmq, url
from tests.servers import free_port, valkey, wait_for
from webapp.config import Settings
from webapp.extensions import celery
from webapp.messaging import installation, producers
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.messaging.installation import KEY, OtherInstallation

pytestmark = pytest.mark.slow

COMMANDS = {
    "worker": ["celery", "-A", "wsgi:celery", "worker", "--pool", "solo"],
    "beat": ["celery", "-A", "wsgi:celery", "beat"],
    "recorder": ["flask", "recorder", "run"],
    "web": ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"],
}


@pytest.fixture
def theirs(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with a Redis server that is away."""
    url = f"redis://127.0.0.1:{free_port()}"
    return settings.with_changes(redis_url=f"{url}/0", broker_url=f"{url}/0", result_backend=f"{url}/1", data=tmp_path)


def _left(client: redis_client.Redis) -> tuple[int, int, int]:
    """The numbers of messages, entries and readers there."""
    return client.llen(DEFAULT_QUEUE), client.xlen(STREAM), len(client.xinfo_groups(STREAM))


def _theirs(client: redis_client.Redis) -> None:
    """As another installation leaves it: a mark, a message, and the end of a run."""
    client.set(KEY, "another")
    client.lpush(DEFAULT_QUEUE, "a message of theirs")
    client.xadd(STREAM, {"run": "r", "event": "succeeded", "attempt": "0", "at": "2026-11-26T00:00:00+00:00"})


def _ended(process: processes.Process) -> None:
    wait_for(lambda: process.popen.poll() is not None, seconds=30, message=f"{process.name} did not end")
    assert process.popen.returncode != 0
    lines = [line for line in process.output().splitlines() if "belongs to another installation" in line]
    assert len(lines) == 1
    assert "flask installation take-over" in lines[0]
    assert "Traceback" not in process.output()


def test_nothing_starts_with_anothers_redis(settings: Settings, redis: redis_client.Redis) -> None:
    _theirs(redis)
    before = _left(redis)
    with ExitStack() as stack:
        port = str(free_port())
        started = [processes.Process(settings, name, command, PORT=port) for name, command in COMMANDS.items()]
        for process in started:
            stack.callback(process.end)
        for process in started:
            _ended(process)
    assert (_left(redis), redis.get(KEY)) == (before, "another")


def test_what_started_while_it_was_away_ends_when_it_is_back(theirs: Settings, tmp_path: Path) -> None:
    with ExitStack() as stack:
        started = [processes.Process(theirs, name, COMMANDS[name]) for name in ("worker", "beat", "recorder")]
        for process in started:
            stack.callback(process.end)

        def refused(process: processes.Process) -> bool:
            return process.log.exists() and "onnection refused" in process.output()

        wait_for(lambda: all(map(refused, started)), seconds=60, message="not all of them missed it")
        # A server with their data takes its place before a client can connect to an empty one.
        prepared = tmp_path / "prepared"
        prepared.mkdir()
        with valkey(prepared) as other, redis_client.Redis.from_url(other) as client:
            _theirs(client)
            client.save()
        number = int(theirs.redis_url.split(":")[2].split("/")[0])
        with valkey(prepared, number) as url, redis_client.Redis.from_url(url) as client:
            before = _left(client)
            assert before == (1, 1, 0)
            for process in started:
                _ended(process)
            assert _left(client) == before


def test_rabbitmq_is_marked_too(context: Flask, tmp_path: Path, runner: FlaskCliRunner) -> None:
    with rabbitmq(tmp_path) as port:
        celery.conf.broker_url = url(port)
        producers.drop(producers.connect(celery))
        with celery.connection_for_write() as connection, connection.channel() as channel:
            channel.exchange_delete(installation.EXCHANGE)
            theirs = {"alternate-exchange": "beatdesk.another"}
            channel.exchange_declare(installation.EXCHANGE, "fanout", durable=True, auto_delete=False, arguments=theirs)
        with pytest.raises(OtherInstallation, match=r"belongs to another installation of Beatdesk \(another;"):
            producers.connect(celery)
        assert runner.invoke(args=["installation", "take-over"]).exit_code == 0
        producers.drop(producers.connect(celery))
