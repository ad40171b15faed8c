"""Leadership, and that a former leader can do nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.scheduler.beats import FakeTime, Rig, at, drive
from tests.servers import wait_for
from webapp.schedule_store.beat_models import BeatLease
from webapp.scheduler.core import Core
from webapp.scheduler.dispatch import dispatch
from webapp.scheduler.leader import Lease, LeaseLost
from webapp.scheduler.plan import plan

pytestmark = pytest.mark.each_database

BEGIN = at("2027-03-01T10:00:00")


def _takes(beats: Rig, lease: Lease) -> bool:
    with beats.engine.begin() as connection:
        return lease.take(connection)


def _renews(beats: Rig, lease: Lease) -> bool:
    with beats.engine.begin() as connection:
        return lease.renew(connection)


def _leads(core: Core) -> bool:
    return core.lease.held


def test_one_of_two_leads_and_the_other_takes_over(beats: Rig) -> None:
    clock = FakeTime(BEGIN).clock
    first, second = Lease("one", clock, ttl=0.6), Lease("two", clock, ttl=0.6)
    assert _takes(beats, first)
    assert not _takes(beats, second)
    assert _renews(beats, first)
    assert not _takes(beats, second)
    wait_for(lambda: _takes(beats, second), seconds=3)
    assert second.token == 2
    assert not _renews(beats, first)
    assert not first.held


def test_given_back_it_is_free_at_once(beats: Rig) -> None:
    clock = FakeTime(BEGIN).clock
    first, second = Lease("one", clock), Lease("two", clock)
    assert _takes(beats, first)
    with beats.engine.begin() as connection:
        first.give_back(connection)
        row = connection.execute(sa.select(BeatLease.holder, BeatLease.expires_at)).one()
    # Since when none leads.
    assert (row.holder, row.expires_at is None) == (None, False)
    assert _takes(beats, second)


def test_a_lease_from_before_the_clock_was_set_back_counts_as_run_out(beats: Rig) -> None:
    clock = FakeTime(BEGIN).clock
    beats.execute(
        "UPDATE beat_lease SET holder = 'dead', token = 7, expires_at = :far", far="2999-01-01 00:00:00.000000"
    )
    lease = Lease("one", clock)
    assert _takes(beats, lease)
    assert lease.token == 8


def test_a_lease_grows_stale_by_the_monotonic_clock(beats: Rig) -> None:
    time = FakeTime(BEGIN)
    lease = Lease("one", time.clock)
    assert not lease.fresh()
    assert _takes(beats, lease)
    assert lease.fresh()
    time.pass_by(3.1)
    assert not lease.fresh()


def test_a_former_leader_commits_nothing(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    time = FakeTime(BEGIN)
    former = beats.leading(time)
    beats.leading(time)
    time.pass_by(60)
    entry = former.agenda.entries[made]
    with pytest.raises(LeaseLost):
        dispatch(former.engine, former.lease, [plan(entry, time.wall_now)], time.wall_now)
    assert beats.runs() == []
    former.step(woken=True)
    assert beats.runs() == []


def test_a_former_leader_publishes_nothing(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    time.pass_by(60)
    entry = core.agenda.entries[made]
    outcome = dispatch(core.engine, core.lease, [plan(entry, time.wall_now)], time.wall_now)
    assert len(outcome.to_send) == 1
    # It is stopped between its commit and its publication, for longer than the lease lasts.
    time.pass_by(60)
    core.publisher.submit(outcome.to_send)
    wait_for(lambda: core.publisher.idle)
    assert core.publisher.published == 0
    assert beats.runs(made)[0].sent_at is None


def test_the_next_leader_goes_on_where_the_former_stopped(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    time = FakeTime(BEGIN)
    first = beats.leading(time)
    standby = beats.beat(time)
    standby.step(woken=True)
    assert not _leads(standby)
    drive(first, time, BEGIN + timedelta(seconds=200))
    beats.execute("UPDATE beat_lease SET holder = NULL, expires_at = NULL")
    standby._next_lease = float("-inf")
    standby.step(woken=True)
    assert _leads(standby)
    assert standby.agenda.next_at() == (BEGIN + timedelta(seconds=240)).timestamp()
    drive(standby, time, BEGIN + timedelta(seconds=300))
    assert [due.minute for due in beats.dues(made)] == [1, 2, 3, 4, 5]
