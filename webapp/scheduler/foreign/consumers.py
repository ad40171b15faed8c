"""The consumers of each queue: asked of all workers by broadcast, kept in `queue_consumers`.

1. Every worker that hears answers with its queues, ours and others'; two that share a node name give two answers.
2. A consumer claims runs if it is a living worker of ours: one that has a row in `workers` under its node name. Of
   several answers under one name those are ours whose queues are those of such a row, the rest is not.
3. A worker that does not answer keeps what was known of it, for a day: a busy one answers nothing.
4. A worker of ours may answer before its row is there, or while the database is away. Once the row is there what was
   noted of the worker meanwhile is taken back.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from celery import Celery

from beatdesk.encoding import NAME_LENGTH
from webapp.database import dialects
from webapp.database.engine import database_now
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER, WORKER_LOST_AFTER
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.task_catalogue.task_names import is_internal

# A worker consumes before it says that it is ready.
STARTING = timedelta(seconds=30)
# Seconds without a further answer after which no more is expected.
ANSWER_SECONDS = 1.0
# The same for workers that are known to be there: as soon as all have answered, none is waited for.
RECALL_SECONDS = 3.0
MAX_ANSWERS = 1_000
MAX_QUEUES = 100
MAX_TASKS = 5_000
_COLUMNS = ("queue", "node", "claims")


class Answer(NamedTuple):
    """What one worker says: its node name and its queues."""

    node: str
    queues: frozenset[str]


class Seen(NamedTuple):
    """A consumer as one look found it."""

    queue: str
    node: str
    claims: bool


def ask(app: Celery, connection: Any, most: int = MAX_ANSWERS) -> list[Answer]:
    """The answers of all workers that hear, until none came for a second. Raises what the transport raises."""
    replies = app.control.broadcast(
        "active_queues", reply=True, timeout=ANSWER_SECONDS, limit=most, connection=connection
    )
    return [answer for reply in replies or () for answer in _answers(reply)]


def ask_for(
    app: Celery, connection: Any, run_ids: Sequence[str], answers: Sequence[Answer]
) -> dict[str, dict[str, str]] | None:
    """Those of these runs that each worker has received and not ended, and in which state, by node name.

    None when not all of the workers that have just answered do so again. Raises what the transport raises.
    """
    if not answers:
        return {}
    wanted = set(run_ids)
    replies = app.control.broadcast(
        "query_task",
        arguments={"ids": list(run_ids)},
        reply=True,
        timeout=RECALL_SECONDS,
        limit=len(answers),
        connection=connection,
    )
    found: dict[str, dict[str, str]] = {}
    for reply in replies or ():
        for node, known in reply.items() if isinstance(reply, dict) else ():
            said = known.items() if isinstance(known, dict) else ()
            states = {run_id: str(task[0]) for run_id, task in said if run_id in wanted and isinstance(task, list)}
            found.setdefault(node, {}).update(states)
    return found if found.keys() >= {answer.node for answer in answers} else None


def ask_for_tasks(app: Celery, connection: Any, nodes: Sequence[str]) -> dict[str, list[str]]:
    """The tasks that these workers have registered, by node name. Raises what the transport raises."""
    replies = app.control.broadcast(
        "registered",
        destination=list(nodes),
        reply=True,
        timeout=RECALL_SECONDS,
        limit=len(nodes),
        connection=connection,
    )
    found: dict[str, list[str]] = {}
    for reply in replies or ():
        for node, tasks in reply.items() if isinstance(reply, dict) else ():
            # Behind the name stand a task's own settings, such as "[rate_limit=10/m]".
            names = [str(task).partition(" [")[0] for task in tasks[:MAX_TASKS]] if isinstance(tasks, list) else []
            found.setdefault(node, []).extend(name for name in names if _is_name(name) and not is_internal(name))
    return found


def foreign_queues(connection: sa.Connection, now: datetime, default: str) -> dict[str, str]:
    """The workers that are there and not ours, each with the queue to which its tasks are sent by default.

    Of several queues that is `default`, the project's default queue, where it is one of them, else the first by name.
    """
    lately = QueueConsumer.seen_at > now - FOREIGN_WORKER_GONE_AFTER
    query = sa.select(QueueConsumer.node, QueueConsumer.queue).where(lately, ~QueueConsumer.claims)
    found: dict[str, str] = {}
    for node, queue in connection.execute(query.order_by(QueueConsumer.queue.desc())):
        if found.get(node) != default:
            found[node] = queue
    return found


def _answers(reply: Any) -> Iterator[Answer]:
    """What is no answer in the expected form, such as an error, is none."""
    for node, queues in reply.items() if isinstance(reply, dict) else ():
        if isinstance(queues, list) and _is_name(node):
            names = [queue.get("name") for queue in queues[:MAX_QUEUES] if isinstance(queue, dict)]
            yield Answer(node, frozenset(str(name) for name in names if _is_name(name)))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_LENGTH and value.isprintable()


class ConsumerLog:
    """Keeps what the looks of one leading beat find."""

    def __init__(self) -> None:
        # Noted as not claiming only because no living worker of ours had that name.
        self._unproved: set[tuple[str, str]] = set()

    def record(self, connection: sa.Connection, answers: Sequence[Answer], now: datetime) -> None:
        """Keep what was answered. Commits nothing itself."""
        ours = _ours(connection)
        by_node: dict[str, list[Answer]] = defaultdict(list)
        for answer in answers:
            by_node[answer.node].append(answer)
        seen: set[Seen] = set()
        for node, given in by_node.items():
            rows = ours.get(node, [])
            seen |= _judged(given, [queues for queues, _ in rows])
            if len(given) == 1 and not rows:
                self._unproved |= {(queue, node) for queue in given[0].queues}
            elif len(given) == len(rows) == 1:
                self._take_back(connection, node, rows[0][1])
        _keep(connection, seen, now)

    def _take_back(self, connection: sa.Connection, node: str, started_at: datetime) -> None:
        for queue, name in sorted(self._unproved):
            if name == node:
                mine = (QueueConsumer.queue == queue, QueueConsumer.node == node, QueueConsumer.claims.is_(False))
                began = QueueConsumer.first_seen_at >= started_at - STARTING
                connection.execute(sa.delete(QueueConsumer).where(*mine, began))
        self._unproved = {(queue, name) for queue, name in self._unproved if name != node}


def _ours(connection: sa.Connection) -> dict[str, list[tuple[frozenset[str], datetime]]]:
    """The queues of each living worker of ours, and when it was started, by node name."""
    alive = Worker.alive(connection.execute(sa.select(database_now(connection))).scalar_one(), WORKER_LOST_AFTER)
    statement = sa.select(Worker.name, Worker.queues, Worker.started_at).where(alive)
    found: dict[str, list[tuple[frozenset[str], datetime]]] = defaultdict(list)
    for name, queues, started_at in connection.execute(statement):
        found[name].append((frozenset(json.loads(queues)), started_at))
    return found


def _judged(answers: Sequence[Answer], rows: Sequence[frozenset[str]]) -> set[Seen]:
    """The consumers under one node name; `rows` are the queues of our workers of that name."""
    if len(answers) <= len(rows):
        return {Seen(queue, answer.node, True) for answer in answers for queue in answer.queues}
    left = list(rows)
    seen: set[Seen] = set()
    for answer in answers:
        claims = answer.queues in left
        if claims:
            left.remove(answer.queues)
        seen |= {Seen(queue, answer.node, claims) for queue in answer.queues}
    return seen


def _keep(connection: sa.Connection, seen: set[Seen], now: datetime) -> None:
    if seen:
        insert = dialects.insert(connection, QueueConsumer)
        statement = insert.on_conflict_do_update(index_elements=_COLUMNS, set_={"seen_at": insert.excluded.seen_at})
        rows = [{**one._asdict(), "first_seen_at": now, "seen_at": now} for one in sorted(seen)]
        connection.execute(statement, rows)
    connection.execute(sa.delete(QueueConsumer).where(QueueConsumer.seen_at < now - FORGOTTEN_AFTER))
