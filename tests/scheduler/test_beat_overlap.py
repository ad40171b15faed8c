"""A schedule that comes due while its last run has not ended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import redis as redis_client
import sqlalchemy as sa

from tests.scheduler.beats import RUNS, FakeTime, Rig, at, drive
from tests.servers import wait_for
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store import statements
from webapp.scheduler.core import Core

pytestmark = pytest.mark.each_database

BEGIN = at("2027-03-01T10:00:00")


def _begin(beats: Rig, policy: str) -> tuple[int, FakeTime, Core]:
    made = beats.interval("i", 60, saved=BEGIN, details={"overlap": policy})
    time = FakeTime(BEGIN)
    return made, time, beats.leading(time)


def _minute(number: float) -> datetime:
    return BEGIN + timedelta(minutes=number)


def test_allow(beats: Rig) -> None:
    made, time, core = _begin(beats, "allow")
    drive(core, time, _minute(3))
    assert len(beats.dues(made)) == 3


def test_skip_until_the_run_has_ended(beats: Rig) -> None:
    made, time, core = _begin(beats, "skip")
    drive(core, time, _minute(2.5))
    beats.end_runs(made)
    drive(core, time, _minute(3))
    assert [due.minute for due in beats.dues(made, "skipped")] == [2]
    assert beats.runs(made, "skipped")[0].reason == "the run of 2027-03-01 10:01:00 UTC has not ended; overlap: skip"
    assert [due.minute for due in beats.dues(made)] == [3]


def test_queue_one_holds_one_and_releases_it(beats: Rig) -> None:
    made, time, core = _begin(beats, "queue one")
    drive(core, time, _minute(3.5))
    assert [due.minute for due in beats.dues(made)] == [1]
    assert [due.minute for due in beats.dues(made, "held")] == [2]
    assert [due.minute for due in beats.dues(made, "skipped")] == [3]
    core.step(woken=True)
    assert [due.minute for due in beats.dues(made, "held")] == [2]
    beats.end_runs(made)
    core.step(woken=True)
    assert beats.dues(made, "held") == []
    assert [due.minute for due in beats.dues(made)] == [2]


def test_cancel_other_revokes_what_waits(beats: Rig) -> None:
    made, time, core = _begin(beats, "cancel other")
    drive(core, time, _minute(2))
    assert [due.minute for due in beats.dues(made, "revoked")] == [1]
    assert [due.minute for due in beats.dues(made)] == [2]
    assert beats.runs(made, "revoked")[0].ended_at is not None


@pytest.mark.parametrize(
    ("other", "becomes", "asked"),
    [
        ("held", "revoked", "drop"),
        ("queued", "revoked", "drop"),
        ("retrying", "revoked", "drop"),
        ("started", "started", "end"),
        ("unconfirmed", "unconfirmed", None),
        ("succeeded", "succeeded", None),
    ],
)
def test_cancel_other_ends_what_runs_and_replaces_what_waits(
    beats: Rig, monkeypatch: pytest.MonkeyPatch, other: str, becomes: str, asked: str | None
) -> None:
    made, time, core = _begin(beats, "cancel other")
    drive(core, time, _minute(1))
    [first] = [run.id for run in beats.runs(made)]
    beats.execute("UPDATE runs SET state = :state WHERE id = :id", state=other, id=first)
    heard: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(
        core.publisher, "revoke", lambda to_end, to_drop: heard.extend([("end", to_end), ("drop", to_drop)])
    )
    drive(core, time, _minute(2))
    assert [run.state for run in beats.runs(made)] == [becomes, "queued"]
    assert [kind for kind, ids in heard if ids] == ([asked] if asked else [])


def test_a_run_that_begins_meanwhile_is_ended(beats: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker claims it after beat has read that it waits."""
    made, time, core = _begin(beats, "cancel other")
    drive(core, time, _minute(1))
    [first] = [run.id for run in beats.runs(made)]
    read = statements.unended_of

    def read_then_claimed(connection: sa.Connection, schedule_ids: list[int]) -> list[statements.Unended]:
        found = read(connection, schedule_ids)
        connection.execute(sa.update(RUNS).where(RUNS.c.id == first).values(state="started"))
        return found

    monkeypatch.setattr(statements, "unended_of", read_then_claimed)
    heard: list[str] = []
    monkeypatch.setattr(core.publisher, "revoke", lambda to_end, _: heard.extend(to_end))
    drive(core, time, _minute(2))
    assert heard == [first]
    assert [run.state for run in beats.runs(made)] == ["started", "queued"]


def test_the_newest_goes_ahead_of_what_waits(beats: Rig, redis: redis_client.Redis) -> None:
    """Behind it, one that comes due more often than the queue gets round would never begin."""
    made, time, core = _begin(beats, "cancel other")
    redis.lpush(DEFAULT_QUEUE, "of others", "of others")

    def fire(minute: int) -> None:
        # Shortly before, so that it still leads when it sends.
        for moment in (_minute(minute) - timedelta(seconds=0.5), _minute(minute)):
            time.go_to(moment.timestamp())
            core.step(woken=True)
        wait_for(lambda: core.publisher.idle)

    fire(1)
    assert beats.runs(made)[0].id in str(redis.lindex(DEFAULT_QUEUE, 0))
    fire(2)
    fire(3)
    newest = beats.runs(made, "queued")[0].id
    lying = redis.lrange(DEFAULT_QUEUE, 0, -1)
    # It is read from its end.
    assert newest in lying[-1]
    assert (len(lying), lying[1:3]) == (5, ["of others"] * 2)


@pytest.mark.parametrize("policy", ["allow", "skip", "cancel other"])
def test_what_is_held_begins_although_the_policy_was_changed(beats: Rig, policy: str) -> None:
    made, time, core = _begin(beats, "queue one")
    drive(core, time, _minute(2))
    [first, second] = [run.id for run in beats.runs(made)]
    beats.execute("UPDATE schedule_details SET overlap = :policy", policy=policy)
    time.pass_by(1)
    core.step(woken=True)
    drive(core, time, _minute(3))
    # It ends; the one that came later, under "allow", goes on.
    beats.execute("UPDATE runs SET state = 'succeeded' WHERE id = :id", id=first)
    core.step(woken=True)
    assert next(run.state for run in beats.runs(made) if run.id == second) != "held"


def test_of_two_that_are_held_the_first_begins(beats: Rig) -> None:
    made, time, core = _begin(beats, "queue one")
    drive(core, time, _minute(3))
    beats.execute("UPDATE runs SET state = 'held', ended_at = NULL WHERE state = 'skipped'")
    beats.end_runs(made)
    core.step(woken=True)
    assert [run.state for run in beats.runs(made)] == ["succeeded", "queued", "held"]
