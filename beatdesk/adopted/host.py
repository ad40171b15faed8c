"""An adopted worker as the host of its runs: claims in Redis, records by the stream alone.

Whatever goes wrong here, the task is executed as its project expects: only a duplicate of what Beatdesk sent is not.

1. A message that Beatdesk sent, or a task did, is claimed (see `claims`). Other messages are executed in any case; the
   first of a task id is the run of that id, a further one is another run.
2. Without Redis a first sending is executed unclaimed. What may be a second one never is: it is published again, to be
   tried later.
3. What Redis does not take is kept (see `backlog`) and appended once it is back.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import redis
from celery import Celery
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from beatdesk.adopted import address
from beatdesk.adopted.backlog import Backlog
from beatdesk.adopted.claims import (
    CLAIM_KEY,
    OVER,
    REMEMBERED_SECONDS,
    TASK_KEY,
    Answer,
    Claim,
    RedisClaims,
    Sending,
)
from beatdesk.encoding import shortened
from beatdesk.execution import canvas
from beatdesk.execution.current import Execution
from beatdesk.execution.emitter import Subject, append_all, emit
from beatdesk.execution.events import TEXT_LIMIT, Entry, Event
from beatdesk.execution.host import Claimed, Delivery, Host
from beatdesk.execution.ids import had_row, id_of_task, made_at, repeated_id
from beatdesk.execution.message import SENDING_HEADER, run_of_message

logger = logging.getLogger(__name__)

# Seconds without a try after Redis did not answer: a task must not wait for it each time.
PAUSE = 5.0
# Seconds after which a message whose run is held by another worker is looked at again.
HELD_SECONDS = 10.0
# Longer arguments are kept as text that is cut.
MAX_ARGUMENTS = TEXT_LIMIT // 4
FORGOTTEN = "Redis may have lost that it was executed; it was not executed a second time"
_OF_DELIVERY = (
    "task", "args", "kwargs", "sealed", "queue", "options", "group_id", "group_index", "parent_id", "root_id",
    "external_id",
)  # fmt: skip


class RedisHost(Host):
    """The host of an adopted app's runs."""

    owns_worker = False

    def __init__(self, app: Celery, redis_url: str | None) -> None:
        self.app = app
        self._url = redis_url
        self._worker_id = uuid.uuid4().hex
        self._backlog = Backlog(self.redis)
        self._process = 0
        self._client: redis.Redis | None = None
        self._claims: RedisClaims | None = None
        self._away_until = 0.0

    @property
    def worker_id(self) -> str:
        """New at each start of a worker."""
        return self._worker_id

    @property
    def enabled(self) -> bool:  # type: ignore[override]  # found out when it is first asked, not when it is adopted
        """Whether there is a Redis to report to; says once why not."""
        if self._process == os.getpid():
            return self._client is not None
        client = None
        try:
            client = address.connect(self.app, self._url)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with an address, their worker goes on without us
            # Other errors may quote a part of the address, which has a password.
            why = (
                error
                if isinstance(error, address.NoAddress)
                else f"the address of Redis is wrong ({type(error).__name__})"
            )
            logger.error("Beatdesk does not see the runs of %r: %s", self.app.main, why)  # noqa: TRY400  # no traceback of ours in their log
        # The process last: another thread that asks meanwhile must not find none.
        self._client, self._claims, self._process = client, None, os.getpid()
        return client is not None

    def begin_worker(self) -> None:
        """Be a new worker, before it has processes."""
        self._worker_id = uuid.uuid4().hex

    def begin_process(self) -> None:
        """Use connections, and keep entries, of this process alone."""
        self._process = 0
        self._backlog.forget()

    def redis(self) -> redis.Redis:
        """The client of this process. Raises redis.ConnectionError for a while after Redis did not answer."""
        if not self.enabled or time.monotonic() < self._away_until:
            raise redis.ConnectionError("Redis did not answer a moment ago")
        assert self._client is not None  # noqa: S101  # it is enabled
        return self._client

    def append(self, entry: Entry) -> None:
        """Append an entry to the stream, or keep it until Redis takes it. Never raises."""
        try:
            append_all(self.redis(), [entry])
        except (redis.RedisError, OSError):
            self.record(entry)

    def record(self, entry: Entry) -> None:
        """Keep an entry that Redis did not take."""
        self._note_away()
        self._backlog.put(entry)

    def flush(self) -> None:
        """Append what is kept, before the process ends. Never raises."""
        try:
            self._backlog.flush()
        except (redis.RedisError, OSError) as error:
            logger.error("what happened to runs last is not recorded: %s", error)  # noqa: TRY400  # as above

    def context(self) -> AbstractContextManager[Any]:
        """None: what a task of theirs needs around it, its project does."""
        return nullcontext()

    # Claims

    def claim(self, delivery: Delivery, task: Any, request: Mapping[str, Any]) -> Claimed:
        """Claim what Beatdesk or a task sent; find the run of any other message."""
        try:
            if not delivery.ours:
                run_id = self._which_run(delivery)
                return Claimed(run_id, self._told(delivery, run_id))
            return self._claim(delivery, task, request)
        except (Ignore, Reject, SoftTimeLimitExceeded):
            raise
        except Exception:
            logger.exception("task %s is executed without a claim", delivery.task_id)
            return Claimed(delivery.run_id)

    def _claim(self, delivery: Delivery, task: Any, request: Mapping[str, Any]) -> Claimed:
        run_id, sending, over = delivery.run_id, _sending(delivery, request), self.over(delivery.run_id, request)
        key, late = over[1], bool(task.acks_late)
        claim = Claim(key, self._worker_id, late, sending, made_at(run_id))
        try:
            answer = self._process_claims().claim(claim)
        except (redis.RedisError, OSError) as error:
            self._note_away()
            if sending is not Sending.FIRST:
                self._later(task, request, f"Redis does not answer: {error}")
            logger.warning("run %s is executed unclaimed, Redis does not answer: %s", run_id, error)
            answer = Answer.GO
        match answer:
            case Answer.GO | Answer.TAKEN_OVER:
                return Claimed(run_id, self._told(delivery, run_id), over)
            case Answer.HELD:
                self._later(task, request, "another process executes it")
            case Answer.FORGOTTEN:
                subject = Subject(run_id, delivery.attempt, delivery.worker, delivery.task)
                emit(subject, Event.UNCONFIRMED, FORGOTTEN)
        logger.info("run %s is not executed here: %s", run_id, answer.value)
        raise Ignore(answer.value)

    def _which_run(self, delivery: Delivery) -> str:
        run_id = id_of_task(delivery.task_id)
        repeated = repeated_id(delivery.task_id, delivery.received)
        try:
            return self._process_claims().which_run(
                delivery.task_id, run_id, repeated, repr(delivery.received), goes_on=delivery.goes_on
            )
        except (redis.RedisError, OSError):
            self._note_away()
            return run_id

    def _told(self, delivery: Delivery, run_id: str) -> str:
        """What the recorder has to know of a claim: also the values of the run's row, where it may have none."""
        told: dict[str, Any] = {"by": self._worker_id}
        if not had_row(run_id):
            row = {name: getattr(delivery, name) for name in _OF_DELIVERY}
            origin = "task" if delivery.parent_id else "program"
            told["row"] = {**row, "eta": None, "expires_at": None, "origin": origin}
            for name in ("args", "kwargs"):
                told["row"][name] = shortened(row[name], MAX_ARGUMENTS)
        return json.dumps(told)

    def over(self, run_id: str, message: Mapping[str, Any]) -> tuple[Any, ...]:
        """Remember the claim as over, as long as another message may come."""
        attempt, replaced = message.get("retries") or 0, message.get("replaced_task_nesting") or 0
        key = CLAIM_KEY.format(run_id=run_id, attempt=attempt, replaced=replaced)
        return ("SET", key, OVER, "EX", REMEMBERED_SECONDS)

    def _later(self, task: Any, request: Mapping[str, Any], why: str) -> NoReturn:
        """Publish a message again, to be looked at later, and end this delivery."""
        attempt, replaced = request.get("retries") or 0, request.get("replaced_task_nesting") or 0
        message = {**request, SENDING_HEADER: f"{Sending.AGAIN} {attempt} {replaced}"}
        try:
            again = task.signature_from_request(
                Context(message), request["args"], request["kwargs"], countdown=HELD_SECONDS, retries=attempt
            )
            options = {**again.options, "serializer": task.serializer}
            # Not by the task's own `apply_async`, which may do more than to send.
            self.app.send_task(task.name, again.args, again.kwargs, add_to_parent=False, **options)
        except Exception as error:  # whatever a broker raises, and their own routers
            logger.warning("task %s goes back to the broker: %s", task.name, error)
            time.sleep(1)
            raise Reject(why, requeue=True) from error
        logger.info("task %s is looked at again in %ds: %s", task.name, HELD_SECONDS, why)
        raise Ignore(why)

    # What becomes of a claim

    def give_back(self, execution: Execution, reason: str) -> None:
        """Forget the claim, then say so: the message comes again."""
        try:
            if execution.over:
                self.redis().delete(execution.over[1])
        except (redis.RedisError, OSError):
            self._note_away()
        emit(execution, Event.RELEASED, json.dumps({"by": self._worker_id, "reason": reason}))

    def hand_over(self, execution: Execution, reason: str, replaced: int, signature: Any) -> None:
        """Say which message the run goes on with."""
        told = {"by": self._worker_id, "reason": reason, "replaced": replaced}
        emit(execution, Event.RELEASED, json.dumps({**told, "replacement": canvas.replacement_by(signature)}))

    def handed_over(self, execution: Execution) -> None:
        """Mark the claim of the message that was replaced as over."""
        try:
            if execution.over:
                self.redis().execute_command(*execution.over)
        except (redis.RedisError, OSError):
            self._note_away()

    def started_here(self, task_id: str, message: Mapping[str, Any]) -> tuple[str, int] | None:
        """By the message, and for one that another program sent by what Redis knows of its id."""
        run_id, attempt = run_of_message(message), message.get("retries") or 0
        if run_id is None:
            try:
                known = self.redis().get(TASK_KEY.format(task_id=task_id))
            except (redis.RedisError, OSError):
                return None
            run_id = str(known).partition(" ")[0] if known else None
        return None if run_id is None else (run_id, attempt)

    def _process_claims(self) -> RedisClaims:
        pool = self.redis().connection_pool
        if self._claims is None:
            self._claims = RedisClaims(pool)
        return self._claims

    def _note_away(self) -> None:
        self._away_until = time.monotonic() + PAUSE


def _sending(delivery: Delivery, request: Mapping[str, Any]) -> Sending:
    """Whether a message may be a further one of its attempt."""
    kind, _, of = str(request.get(SENDING_HEADER) or "").partition(" ")
    if kind in {Sending.AGAIN, Sending.ASKED} and of == f"{delivery.attempt} {delivery.replaced}":
        return Sending(kind)
    return Sending.AGAIN if delivery.redelivered else Sending.FIRST
