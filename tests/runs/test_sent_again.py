"""A message that is sent again from its row does what the first one would have done."""

from __future__ import annotations

from typing import Any

from celery import signals
from flask import Flask

from webapp.extensions import celery
from webapp.runs import canvas, message
from webapp.runs.store import Sendable

EMBEDDED = {
    "callbacks": [{"task": "linked", "options": {"task_id": "l"}}],
    "errbacks": None,
    "chain": [{"task": "next", "options": {"task_id": "n"}, "args": [1], "kwargs": {"password": "hush hush"}}],
    "chord": {"task": "total", "options": {"task_id": "t"}},
}


def test_what_the_message_embedded_is_sent_again(context: Flask) -> None:
    options = canvas.options_of(EMBEDDED, "g", 3)
    assert "hush" not in str(options)
    run = Sendable("a", "give", "[1]", "{}", "q", None, options, None, 0, "parent", "root")
    sent: list[tuple[dict[str, Any], Any]] = []

    def note(headers: dict[str, Any], body: Any, **_: Any) -> None:
        sent.append((headers, body))

    signals.before_task_publish.connect(note)
    try:
        with celery.producer_or_acquire() as producer:
            message.send(celery, producer, run)
    finally:
        signals.before_task_publish.disconnect(note)
    [(headers, (_, _, embedded))] = sent
    assert embedded == EMBEDDED
    told = [headers[name] for name in ("id", "group", "group_index", "parent_id", "root_id")]
    assert told == ["a", "g", 3, "parent", "root"]
