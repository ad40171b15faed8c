"""A message that is sent again from its row does what the first one would have done."""

from __future__ import annotations

from typing import Any

from celery import signals
from flask import Flask

from beatdesk.execution import canvas
from beatdesk.execution.host import Delivery
from tests.runs.making import make_run
from tests.support import fresh
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.run_store import claims, message
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable
from webapp.run_store.states import RunState
from webapp.scheduler.sending.messages import Sender

EMBEDDED = {
    "callbacks": [{"task": "linked", "options": {"task_id": "l"}}],
    "errbacks": None,
    "chain": [{"task": "next", "options": {"task_id": "n"}, "args": [1], "kwargs": {"password": "hush hush"}}],
    "chord": {"task": "total", "options": {"task_id": "t"}},
}


def send(run: Run | Sendable) -> list[tuple[dict[str, Any], Any]]:
    """The headers and the body of each message."""
    sent: list[tuple[dict[str, Any], Any]] = []

    def note(headers: dict[str, Any], body: Any, **_: Any) -> None:
        sent.append((headers, body))

    signals.before_task_publish.connect(note)
    try:
        with celery.producer_or_acquire() as producer:
            message.send(celery, producer, run)
    finally:
        signals.before_task_publish.disconnect(note)
    return sent


def test_what_the_message_embedded_is_sent_again(context: Flask) -> None:
    options = canvas.options_of(EMBEDDED, {"group": "g", "group_index": 3})
    assert "hush" not in str(options)
    run = Sendable("a", "give", "[1]", "{}", "q", None, options, None, 0, "parent", "root")
    [(headers, (_, _, embedded))] = send(run)
    assert embedded == EMBEDDED
    sent_again = [headers[name] for name in ("id", "group", "group_index", "parent_id", "root_id")]
    assert sent_again == ["a", "g", 3, "parent", "root"]


def test_what_a_task_replaced_itself_by_is_sent_again(context: Flask) -> None:
    """The broker lost it, or the worker ended before it was sent."""
    run_id = make_run(RunState.STARTED, task="replacing", claimed_by="w", claims=1)
    signature = celery.signature("add", args=(3, 4), kwargs={"password": "hush hush"}, queue="sums")
    signature.freeze(run_id)
    signature.set(replaced_task_nesting=1)

    replacement = canvas.replacement_by(signature)

    def claim(replaced: int) -> claims.Verdict:
        delivery = Delivery(run_id, "replacing", "[]", "{}", 0, "other", "o@h", replaced=replaced)
        with db.engine.begin() as connection:
            return claims.claim(connection, delivery, now())

    with db.engine.begin() as connection:
        claims.hand_over(connection, run_id, "w", "It replaced itself with add", 1, replacement, now())
    run = fresh(Run, run_id)
    assert (run.state, run.sends, run.task) == (RunState.QUEUED, 1, "replacing")
    assert run.sent_at is not None
    assert "hush" not in str(run.options)
    [(headers, (args, kwargs, _))] = send(run)
    assert [headers[name] for name in ("id", "task", "replaced_task_nesting")] == [run_id, "add", 1]
    assert (list(args), kwargs) == ([3, 4], {"password": "hush hush"})
    assert Sender(celery).queue_of(Sendable._make(getattr(run, name) for name in Sendable._fields)) == "sums"
    # The message that it replaced is a duplicate now; the other one is not.
    assert claim(0) is claims.Verdict.DUPLICATE
    assert claim(1) in {claims.Verdict.CLAIMED, claims.Verdict.CLAIMED_AGAIN}
