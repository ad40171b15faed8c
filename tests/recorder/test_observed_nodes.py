"""Which nodes belong to other projects, and how many of their starts are missing by their own count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webapp.recorder.observed_nodes import ObservedNodes

AT = datetime(2026, 11, 26, 2, tzinfo=UTC)
NODE = ("celery@shop", 7)


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "hostname": NODE[0], "pid": NODE[1], **fields}


def heartbeat(processed: int) -> dict[str, Any]:
    return event("worker-heartbeat", processed=processed, active=1, sw_ident="py-celery", sw_ver="5.4.0")


def noted(*events: dict[str, Any], nodes: ObservedNodes | None = None) -> ObservedNodes:
    """Events a second apart."""
    nodes = nodes or ObservedNodes(tuple)
    for seconds, one in enumerate(events):
        nodes.note(one, AT + timedelta(seconds=seconds))
    return nodes


START = event("task-started")


def test_nodes_are_named_once_and_by_when_they_were_first_seen() -> None:
    nodes = noted(heartbeat(0), heartbeat(0), {**heartbeat(0), "hostname": "celery@new"}, event("task-received"))
    assert nodes.names() == ["celery@new", "celery@shop"]
    assert nodes.names(since=AT + timedelta(seconds=1)) == ["celery@new"]


def test_our_own_workers_and_clients_are_none_of_them() -> None:
    nodes = ObservedNodes(lambda: {NODE})
    assert nodes.note(heartbeat(0), AT) is False
    assert ObservedNodes(tuple).note(event("task-sent"), AT) is False
    assert (nodes.names(), nodes.seen(AT)) == ([], [])


def test_a_worker_of_ours_that_starts_later_is_forgotten() -> None:
    own: set[tuple[str, int]] = set()
    nodes = noted(heartbeat(0), nodes=ObservedNodes(lambda: own))
    own.add(NODE)
    nodes.forget_own()
    assert nodes.seen(AT) == []


@pytest.mark.parametrize(
    ("events", "lost"),
    [
        ([heartbeat(5), START, heartbeat(6), START, START, heartbeat(8)], 0),
        # Started while the heartbeat was sent.
        ([heartbeat(0), heartbeat(1), START, heartbeat(1), heartbeat(1)], 0),
        ([heartbeat(0), heartbeat(3), heartbeat(3)], 3),
        ([heartbeat(0), START, heartbeat(3), START, heartbeat(4), heartbeat(4)], 2),
        ([heartbeat(0), heartbeat(2), heartbeat(2), heartbeat(5), heartbeat(5)], 5),
        # A start that was read twice makes up for none that is lost later.
        ([heartbeat(0), START, START, heartbeat(1), heartbeat(2), heartbeat(2)], 1),
        # Its end shows that a run started.
        ([heartbeat(0), event("task-succeeded", uuid="a"), heartbeat(1), heartbeat(1)], 0),
        ([heartbeat(0), {**START, "uuid": "a"}, event("task-failed", uuid="a"), heartbeat(2), heartbeat(2)], 1),
        # The number of a process that was replaced begins anew.
        ([heartbeat(9), heartbeat(0), START, heartbeat(1)], 0),
        ([heartbeat(0), event("worker-heartbeat", processed="many"), heartbeat(0)], 0),
    ],
)
def test_missing_starts_are_counted_once(events: list[dict[str, Any]], lost: int) -> None:
    assert sum(gap[3] or 0 for gap in noted(*events).gaps) == lost


def test_a_gap_lasts_from_the_last_complete_count() -> None:
    assert noted(heartbeat(0), START, heartbeat(1), heartbeat(2), heartbeat(2)).gaps == [
        ("celery@shop", AT + timedelta(seconds=2), AT + timedelta(seconds=4), 1)
    ]


def test_what_is_kept_of_a_node() -> None:
    nodes = noted(heartbeat(0), START, event("worker-offline"))
    [row] = nodes.seen(AT)
    stopped = AT + timedelta(seconds=2)
    assert row == ("celery@shop", 7, "py-celery 5.4.0", 1, AT, stopped, stopped)
    assert nodes.seen(AT + timedelta(days=2)) == []
