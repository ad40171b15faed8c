"""Streams of the web process as the Procfile starts it, under gevent."""

from __future__ import annotations

import http.client
from contextlib import ExitStack, closing, suppress

import pytest
import redis as redis_client
from flask import Flask

from tests.live.listening import listening
from tests.processes import Process, running
from tests.servers import free_port, wait_for
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.live.slots import KEY
from webapp.run_store.changes import announce

pytestmark = pytest.mark.slow


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError), closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def test_one_greenlet_reads_for_all_streams(app: Flask, settings: Settings, redis: redis_client.Redis) -> None:
    port = free_port()
    visitors = [Visitor(app, role) for role in ("viewer", "operator")]
    command = ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"]
    with running(Process(settings, "web", command, PORT=str(port), WEB_CONCURRENCY="1")), ExitStack() as stack:
        wait_for(lambda: answers(port), seconds=30, message="gunicorn did not come up")
        address = f"http://127.0.0.1:{port}"
        streams = [
            stack.enter_context(listening(address, visitor, "/live/runs")) for visitor in visitors for _ in range(5)
        ]
        for stream in streams:
            stream.until("news")
        announce(redis, ["one"])
        assert [stream.next().name for stream in streams] == ["news"] * 10
        assert [client["cmd"] for client in redis.client_list()].count("xread") == 1
        with listening(address, visitors[0], "/live/runs") as sixth:
            assert sixth.status == 429
        # The pages go on, and browsers that leave are noticed.
        assert answers(port)
        for stream in streams[1:]:
            stream.close()
        kept = list(redis.scan_iter(KEY.format(person="*")))
        wait_for(lambda: sum(redis.zcard(key) for key in kept) == 1, message="closed streams keep their places")
