from __future__ import annotations

from datetime import timedelta

import pytest
from flask import Flask

from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.worker_models import Worker
from webapp.workers.capacity import Standing, pools


@pytest.fixture(autouse=True)
def known(context: Flask) -> None:
    """Two living workers that share a queue, one living alone, and two that went an hour ago."""
    hour_ago = now() - timedelta(hours=1)
    rows = [
        ("a", 4, '["celery", "mail"]', now()),
        ("b", 2, '["mail"]', now()),
        ("c", 8, '["slow"]', now()),
        ("d", 3, '["reports"]', hour_ago),
        ("e", 5, '["reports", "celery"]', hour_ago - timedelta(seconds=10)),
        ("f", 9, '["reports"]', hour_ago - timedelta(days=1)),
    ]
    for name, slots, queues, seen_at in rows:
        db.session.add(
            Worker(
                id=name, name=name, host="h", pid=1, pool="prefork", concurrency=slots, queues=queues, seen_at=seen_at
            )
        )
    db.session.commit()


def test_queues_that_share_a_worker_are_one_pool() -> None:
    found = pools(["celery", "mail", "slow"], now())
    assert [(pool.queues, pool.slots, pool.workers) for pool in found] == [
        (("celery", "mail"), 6, ("a", "b")),
        (("slow",), 8, ("c",)),
    ]
    assert {pool.standing for pool in found} == {Standing.ONLINE}


def test_queue_without_consumers_keeps_its_last_known_slots() -> None:
    (found,) = pools(["reports"], now())
    assert (found.slots, found.standing, found.workers) == (8, Standing.LAST_KNOWN, ("d", "e"))


def test_queue_that_never_had_consumers_has_one_slot() -> None:
    (found,) = pools(["new"], now())
    assert (found.slots, found.standing, found.seen_at) == (1, Standing.ASSUMED, None)
