"""What a result backend says of runs that no worker of ours executes: Celery's record of a task id, as an entry.

The backend is another program's writing: whatever is not of the expected form says nothing. Secret arguments of the run
are masked where a result or an error repeats them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from celery import Celery, states
from celery.app.backends import by_url

from beatdesk.encoding import NAME_LENGTH
from beatdesk.execution.events import Entry, Event
from beatdesk.secrecy import masking
from beatdesk.secrecy.sealing import Unopenable
from beatdesk.secrecy.text import hide
from webapp.run_store.observed import Observed

logger = logging.getLogger(__name__)

# Keys in one MGET.
READ_AT_ONCE = 100
# A clock that is ahead by more than this is wrong.
AHEAD = timedelta(minutes=1)
_ENDS = {
    states.SUCCESS: Event.SUCCEEDED,
    states.FAILURE: Event.FAILED,
    states.RETRY: Event.RETRYING,
    states.REVOKED: Event.REVOKED,
}


class Outcome(NamedTuple):
    """What is known of one run: the entry that says what became of it, None when it goes on; its worker's node name."""

    entry: Entry | None
    worker: str | None


def read(app: Celery, runs: Sequence[Observed], now: datetime) -> dict[str, Outcome]:
    """What result backends say of these runs, by id; nothing where one cannot be read. Never raises.

    They are ours and, on Redis, the broker's database, where many projects keep their results.
    """
    found: dict[str, Outcome] = {}
    for backend in _backends(app):
        found |= _read(app, backend, [run for run in runs if run.id not in found], now)
    return found


def _backends(app: Celery) -> list[Any]:
    """Ours, and the broker's database as another if that is on Redis."""
    broker = app.conf.broker_url
    if urlsplit(broker).scheme not in ("redis", "rediss") or broker == app.conf.result_backend:
        return [app.backend]
    try:
        return [app.backend, _backend_at(app, broker)]
    except Exception as error:  # noqa: BLE001  # an address that is one of a broker only, as with TLS options beside it
        logger.debug("the broker's database is not read for results: %s", type(error).__name__)
        return [app.backend]


@lru_cache(maxsize=1)
def _backend_at(app: Celery, address: str) -> Any:
    cls, url = by_url(address, app.loader)
    return cls(app=app, url=url)


def _read(app: Celery, backend: Any, runs: Sequence[Observed], now: datetime) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    try:
        for start in range(0, len(runs), READ_AT_ONCE):
            chosen = runs[start : start + READ_AT_ONCE]
            values = backend.mget([backend.get_key_for_task(run.task_id) for run in chosen])
            for run, value in zip(chosen, values, strict=True):
                meta = _decoded(value)
                if meta is not None and (outcome := outcome_of(app, run, meta, now)) is not None:
                    found[run.id] = outcome
    except Exception as error:  # noqa: BLE001  # each backend has its own, and one without MGET cannot be read
        logger.info("the result backend cannot be read: %s", error.__class__.__name__)
    return found


def _decoded(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, bytes | str):
        return None
    try:
        meta = json.loads(value)
    except (ValueError, RecursionError):
        # Another serializer, such as pickle.
        return None
    return meta if isinstance(meta, dict) else None


def outcome_of(app: Celery, run: Observed, meta: Mapping[str, Any], now: datetime) -> Outcome | None:
    """What Celery's record of a run says; None when that is nothing."""
    state, result = meta.get("status"), meta.get("result")
    if not isinstance(state, str) or state in (states.PENDING, states.RECEIVED):
        return None
    worker = _name(meta.get("worker"))
    event = _ENDS.get(state)
    if event is None:
        # Started, or a state of the task's own: it goes on. Celery's own record of a start names the worker.
        return Outcome(None, worker or _name(result.get("hostname") if isinstance(result, dict) else None))
    retries = meta.get("retries")
    attempt = max(run.attempt, retries) if isinstance(retries, int) else run.attempt
    hidden = _texts(app, run)
    result = masking.value_without(hidden, result)
    text = masking.masked(json.dumps(result)) if event is Event.SUCCEEDED else hide(_headline(result))
    traceback = meta.get("traceback")
    at = _moment(meta.get("date_done"), now)
    if run.external_id is not None and run.sent_at is not None and at < run.sent_at:
        # Of an earlier run: other programs may send one id again and again.
        return None
    entry = Entry(
        run.id,
        event,
        attempt,
        at,
        _storable(f"Revoked: {text}" if event is Event.REVOKED else text),
        _storable(hide(masking.without(hidden, traceback))) if isinstance(traceback, str) else "",
        worker or "",
        # Asked for again and again, and kept once.
        f"result {attempt} {at.timestamp():.3f}",
        run.task,
    )
    return Outcome(entry, worker)


def _texts(app: Celery, run: Observed) -> frozenset[str]:
    """The secrets of a run's arguments, in every spelling."""
    if run.sealed is None:
        return frozenset()
    try:
        args, kwargs = masking.call_of(run)
        return masking.conceal(masking.rule_of(app.tasks.get(run.task)), args, kwargs).texts
    except (Unopenable, ValueError):
        return frozenset()


def _headline(result: Any) -> str:
    """An exception as Celery keeps it: its type, and its message or its arguments."""
    if not isinstance(result, dict):
        return str(result)
    said = result.get("exc_message", "")
    text = ", ".join(map(str, said)) if isinstance(said, list) else str(said)
    name = str(result.get("exc_type") or "Exception")
    return f"{name}: {text}" if text else name


def _name(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= NAME_LENGTH and value.isprintable() else None


def _moment(value: Any, now: datetime) -> datetime:
    """When it was done; now where the record does not say, or cannot be right."""
    try:
        at = datetime.fromisoformat(value)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return now
    return at if at <= now + AHEAD else now


def _storable(text: str) -> str:
    """Half of a surrogate pair, which no database takes, as six characters."""
    return text.encode("utf-8", "backslashreplace").decode()
