"""The events of a stream, and when it ends."""

from __future__ import annotations

import threading

import pytest
import redis as redis_client
from flask import Flask

from tests.live.listening import listening
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp import create_app
from webapp.accounts import sessions
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import SignIn, User
from webapp.identity.roles import roles_named
from webapp.live import connections
from webapp.live import hub as hub_module
from webapp.live import stream as stream_module
from webapp.run_store.changes import CHANGES, announce
from webapp.web.access import Permission

RUN, OTHER = "0b2f6f4e-one", "0b2f6f4e-other"


def test_stream_sends_live_and_then_changes(
    address: str, viewer: Visitor, redis: redis_client.Redis, app: Flask
) -> None:
    with listening(address, viewer, f"/live/runs/{RUN}") as listener:
        assert listener.status == 200
        assert listener.answer.headers["Content-Type"].startswith("text/event-stream")
        assert listener.answer.headers["Cache-Control"] == "no-store"
        assert listener.next().name == "live"
        # Something may have changed between the page and its stream.
        assert listener.next().name == "news"
        announce(redis, [OTHER])
        announce(redis, [OTHER, RUN])
        event = listener.next()
        assert event.name == "news"
        newest, _ = redis.xrevrange(CHANGES, count=1)[0]
        assert event.id == newest


def test_list_hears_of_every_run(address: str, viewer: Visitor, redis: redis_client.Redis) -> None:
    with listening(address, viewer, "/live/runs") as listener:
        listener.until("news")
        announce(redis, [OTHER])
        assert listener.next().name == "news"
        announce(redis, [str(number) for number in range(1000)])
        assert listener.next().name == "news"


def test_it_goes_on_after_the_last_event(address: str, viewer: Visitor, redis: redis_client.Redis) -> None:
    with listening(address, viewer, f"/live/runs/{OTHER}") as keeping:
        keeping.until("news")
        with listening(address, viewer, f"/live/runs/{RUN}") as listener:
            listener.until("news")
            announce(redis, [RUN])
            last = listener.next().id
        with listening(address, viewer, f"/live/runs/{RUN}", since=last) as nothing_missed:
            assert nothing_missed.next().name == "live"
            announce(redis, [RUN])
            event = nothing_missed.next()
            assert (event.name, event.id > last) == ("news", True)
        announce(redis, [OTHER])
        announce(redis, [RUN])
        assert keeping.next().name == "news"
        with listening(address, viewer, f"/live/runs/{RUN}", since=event.id) as missed_one:
            assert [missed_one.next().name, missed_one.next().name] == ["live", "news"]
        for unknown in ("0-1", "nonsense"):
            with listening(address, viewer, f"/live/runs/{RUN}", since=unknown) as lost:
                assert [lost.next().name, lost.next().name] == ["live", "news"]


def test_one_reader_feeds_all(address: str, viewer: Visitor, redis: redis_client.Redis, app: Flask) -> None:
    second = Visitor(app, "operator")
    with (
        listening(address, viewer, "/live/runs") as one,
        listening(address, viewer, f"/live/runs/{RUN}") as two,
        listening(address, second, f"/live/runs/{RUN}") as three,
    ):
        listeners = (one, two, three)
        for listener in listeners:
            listener.until("news")
        announce(redis, [RUN])
        assert [listener.next().name for listener in listeners] == ["news"] * 3
        readers = [client for client in redis.client_list() if client["cmd"] == "xread"]
        assert len(readers) == 1
        assert [thread.name for thread in threading.enumerate()].count("live-reader") == 1
        assert app.extensions["live"]._reader is not None


def test_quiet_stream_gives_a_sign_of_life(
    address: str, viewer: Visitor, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stream_module.KEEPALIVE_SECONDS == 15.0
    monkeypatch.setattr(stream_module, "KEEPALIVE_SECONDS", 0.2)
    with listening(address, viewer, f"/live/runs/{RUN}") as listener:
        names = [listener.next().name for _ in range(5)]
    assert names == ["live", "news", "live", "live", "live"]


def test_stream_is_cut_when_its_sign_in_ends(
    address: str, viewer: Visitor, redis: redis_client.Redis, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Together with the second between two looks this is far below 30 s.
    assert hub_module.SIGN_IN_CHECK_SECONDS + hub_module.CLEANUP_SECONDS < 15
    monkeypatch.setattr(hub_module, "SIGN_IN_CHECK_SECONDS", 0.0)
    monkeypatch.setattr(hub_module, "CLEANUP_SECONDS", 0.1)
    with listening(address, viewer, "/live/runs") as listener:
        listener.until("news")
        viewer.post("/logout")
        listener.until("ended")
        assert listener.at_end()


@pytest.mark.parametrize("why", ["disabled", "ended", "another role"])
def test_person_who_loses_access_loses_the_stream(context: Flask, why: str) -> None:
    Visitor(context, "viewer")
    row = db.session.query(SignIn).one()
    assert sessions.still_allowed({row.id, "unknown"}, Permission.VIEW_RUNS) == {row.id}
    assert sessions.still_allowed({row.id}, Permission.RUN_TASKS) == set()
    person = db.session.query(User).one()
    if why == "disabled":
        person.active = False
    elif why == "ended":
        row.ended_at = now()
    else:
        person.roles = list(roles_named(("member",)))
    db.session.commit()
    assert sessions.still_allowed({row.id}, Permission.VIEW_RUNS) == set()


def test_browser_that_left_is_noticed(address: str, viewer: Visitor, redis: redis_client.Redis, app: Flask) -> None:
    with listening(address, viewer, "/live/runs") as listener:
        listener.until("news")
        hub = app.extensions["live"]
        assert len(hub.streams) == 1
    wait_for(lambda: not hub.streams, seconds=3, message="the stream was not dropped")


def test_reader_that_fails_is_replaced(
    address: str,
    viewer: Visitor,
    redis: redis_client.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with listening(address, viewer, "/live/runs") as listener:
        listener.until("news")
        with monkeypatch.context() as broken:
            broken.setattr(connections, "disconnected", fail)
            assert listener.at_end()
    assert "the reader of changes has failed" in caplog.text
    with listening(address, viewer, "/live/runs") as again:
        assert again.until("live")


def test_only_who_may_see_runs_gets_a_stream(address: str, app: Flask, redis: redis_client.Redis) -> None:
    with listening(address, Visitor(app, "member"), "/live/runs") as refused:
        assert refused.status == 403
    answer = Visitor(app, "viewer").get("/live/runs")
    assert answer.status_code == 406


def test_five_streams_a_person_over_all_processes(
    address: str, viewer: Visitor, redis: redis_client.Redis, app: Flask, settings: Settings
) -> None:
    other_process = create_app(settings)
    hub = hub_module.Hub(other_process)
    with app.app_context():
        person = db.session.query(User).one().id
        sign_in = db.session.query(SignIn).one().id
        db.session.remove()
    elsewhere = [hub.open("*", person, sign_in, None, "") for _ in range(3)]
    with listening(address, viewer, "/live/runs") as one, listening(address, viewer, "/live/runs") as two:
        assert (one.status, two.status) == (200, 200)
        with listening(address, viewer, "/live/runs") as sixth:
            assert sixth.status == 429
        with listening(address, Visitor(app, "operator"), "/live/runs") as somebody_else:
            assert somebody_else.status == 200
        with pytest.raises(hub_module.TooManyStreams):
            hub.open("*", person, sign_in, None, "")
        hub.leave(elsewhere.pop())
        with listening(address, viewer, "/live/runs") as now_there_is_room:
            assert now_there_is_room.status == 200
    for stream in elsewhere:
        hub.leave(stream)
    wait_for(lambda: hub._reader is None, message="the reader did not end")
    with other_process.app_context():
        db.engine.dispose()
