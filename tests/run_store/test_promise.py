"""Which runs may be sent a second time: one rule, in Python for one run and in SQL for many."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.runs.making import make_run
from tests.support import reading
from webapp.extensions import db
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.promise import Consumer, Promise, guarded, promise
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database

SENT = datetime(2026, 11, 26, 8, tzinfo=UTC)
BEFORE, AFTER = SENT - timedelta(hours=3), SENT + timedelta(seconds=8)
GUARDED, OBSERVED = Promise.GUARDED, Promise.OBSERVED


def ours(queue: str, seen_at: datetime = AFTER) -> Consumer:
    return Consumer(queue, "beatdesk@a", True, seen_at)


def theirs(queue: str, seen_at: datetime = AFTER) -> Consumer:
    return Consumer(queue, "celery@a", False, seen_at)


CASES = {
    "our queue, no consumer seen": (DEFAULT_QUEUE, [], GUARDED),
    "our queue, ours": (DEFAULT_QUEUE, [ours(DEFAULT_QUEUE)], GUARDED),
    "our queue, a worker of ours that fell silent": (DEFAULT_QUEUE, [ours(DEFAULT_QUEUE, BEFORE)], GUARDED),
    "our queue, a foreign worker too": (DEFAULT_QUEUE, [ours(DEFAULT_QUEUE), theirs(DEFAULT_QUEUE)], OBSERVED),
    "our queue, a foreign worker elsewhere": (DEFAULT_QUEUE, [theirs("shop")], GUARDED),
    "another queue, no consumer seen": ("shop", [], OBSERVED),
    "another queue, ours since the sending": ("shop", [ours("shop")], GUARDED),
    "another queue, ours at the moment of the sending": ("shop", [ours("shop", SENT)], GUARDED),
    "another queue, ours only before": ("shop", [ours("shop", BEFORE)], OBSERVED),
    "another queue, one of ours of two": ("shop", [ours("shop", BEFORE), ours("shop")], GUARDED),
    "another queue, ours elsewhere": ("shop", [ours("bakery")], OBSERVED),
    "another queue, theirs": ("shop", [theirs("shop")], OBSERVED),
    "another queue, both": ("shop", [ours("shop"), theirs("shop")], OBSERVED),
    "another queue, ours, theirs fell silent": ("shop", [ours("shop"), theirs("shop", BEFORE)], OBSERVED),
    "one node name, both": ("shop", [ours("shop"), Consumer("shop", "beatdesk@a", False, AFTER)], OBSERVED),
}


@pytest.mark.parametrize(("queue", "consumers", "expected"), CASES.values(), ids=CASES)
def test_the_promise_of_a_queue(queue: str, consumers: list[Consumer], expected: Promise) -> None:
    assert promise(queue, SENT, consumers) is expected


def test_the_promise_at_the_moment_of_sending() -> None:
    assert promise(DEFAULT_QUEUE, None, [ours(DEFAULT_QUEUE)]) is GUARDED
    assert promise("shop", None, [ours("shop")]) is OBSERVED
    assert promise(None, SENT, [ours("shop"), ours(DEFAULT_QUEUE)]) is OBSERVED


def test_the_condition_finds_the_runs_that_the_promise_guards(context: Flask) -> None:
    """Each case by its queue's name, by none where that is the default one, and by an exchange."""
    exchange = '{"exchange": "x", "routing_key": "shop"}'
    for queue, consumers, expected in CASES.values():
        named = {make_run(RunState.QUEUED, queue=queue, sent_at=SENT)}
        if queue == DEFAULT_QUEUE:
            named |= {make_run(RunState.QUEUED, queue=None, sent_at=SENT, options='{"headers": {"a": 1}}')}
        for half in ('{"exchange": "x"}', '{"routing_key": "shop"}'):
            # It decides nothing: the queue does.
            named |= {make_run(RunState.QUEUED, queue=queue, sent_at=SENT, options=half)}
        make_run(RunState.QUEUED, queue=queue, sent_at=SENT, options=exchange)
        with reading():
            found = set(db.session.scalars(sa.select(Run.id).where(guarded(consumers))))
            others = set(db.session.scalars(sa.select(Run.id).where(~guarded(consumers))))
            every = set(db.session.scalars(sa.select(Run.id)))
            promised = {
                run.id: promise(sending.queue_of_run(run), run.sent_at, consumers)
                for run in db.session.scalars(sa.select(Run))
            }
        assert found == {run_id for run_id, promise_ in promised.items() if promise_ is GUARDED}
        assert found | others == every
        assert (named <= found) is (expected is GUARDED)
