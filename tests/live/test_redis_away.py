"""Streams report that Redis is down, and when it is back."""

from __future__ import annotations

from pathlib import Path

from tests import servers
from tests.browser import server
from tests.live.listening import listening
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db


def test_streams_show_that_redis_is_down_and_back(settings: Settings, tmp_path: Path) -> None:
    port = servers.free_port()
    app = create_app(settings.with_changes(redis_url=f"redis://127.0.0.1:{port}/0"))
    viewer = Visitor(app, "viewer")
    with server.serving(app) as address:
        with listening(address, viewer, "/live/runs") as listener:
            assert listener.next().name == "away"
            with servers.valkey(tmp_path, port):
                assert listener.next().name == "live"
                assert listener.next().name == "news"
            assert listener.next().name == "away"
            # Each process counts by itself meanwhile.
            more = [listening(address, viewer, "/live/runs") for _ in range(5)]
            opened = [stream.__enter__() for stream in more]
            assert [stream.status for stream in opened] == [200, 200, 200, 200, 429]
            for stream in more:
                stream.__exit__(None, None, None)
        wait_for(lambda: app.extensions["live"]._reader is None, message="the reader did not end")
    with app.app_context():
        db.engine.dispose()
