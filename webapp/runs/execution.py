"""What happens in a worker around a task: claim before, tell after."""

from __future__ import annotations

import json
import logging
import time
import traceback as traceback_module
from functools import cache
from typing import Any

import redis
import sqlalchemy as sa
from celery import Task, signals
from celery.exceptions import Ignore, Reject
from celery.utils.saferepr import saferepr

from webapp import broker
from webapp.database import now
from webapp.encoding import escape_in
from webapp.extensions import db
from webapp.runs import canvas, claims, recording, unrecorded
from webapp.runs.stream import Event
from webapp.runs.telling import flask_app, tell, tell_begun, tell_received
from webapp.secrecy import executing
from webapp.secrecy.masking import Concealed, conceal, masked, rule_of
from webapp.workers import presence

logger = logging.getLogger(__name__)

# Kept with the request: under threads and greenlets a process executes several runs at once.
_BEGUN = "_beatdesk_hides"
_CLOCK = "_beatdesk_began"

# Of these the claim itself wrote the end.
_ENDED_BY_CLAIM = (claims.Verdict.EXPIRED, claims.Verdict.LOST_TOO_OFTEN)

# How long a worker waits for a database that is away before it gives the message back.
DATABASE_PATIENCE = 20.0


class RunTask(Task):
    """The base of every task: it is executed inside the application, by whoever claimed the run."""

    abstract = True
    # A worker that was lost is replaced within seconds; Celery's own default waits three minutes.
    default_retry_delay = 5

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Claim the run, then execute it; a duplicate delivery does nothing. A direct call just calls."""
        # Each look at `self.request` costs what Celery's stack of requests does.
        request = self.request
        if request.called_directly:
            return self.run(*args, **kwargs)
        with flask_app().app_context():
            call = conceal(rule_of(self), request.args or (), request.kwargs or {})
            verdict = _claim(self.name, request, call)
            if verdict is claims.Verdict.CLAIMED_AGAIN and not _ended_unrecorded(request):
                verdict = claims.Verdict.CLAIMED
            if verdict is not claims.Verdict.CLAIMED:
                logger.info("run %s not begun here: %s", request.id, verdict.value)
                if verdict in _ENDED_BY_CLAIM:
                    broker.tell_pages([request.id])
                raise Ignore(verdict.value)
            if call.any:
                executing.begin(request.id, call.texts)
                setattr(request, _BEGUN, True)
                _listen_to_the_end()
            setattr(request, _CLOCK, time.monotonic())
            tell_begun(request)
            return self.run(*args, **kwargs)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Tell that the run succeeded. A task with an `on_success` of its own need not call this one."""
        request = self.request
        text = _NULL if retval is None else masked(_json(executing.hidden_in(request.id, retval)))
        tell(request, Event.SUCCEEDED, text, seconds=_seconds(request))

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Tell of a task with an `on_success` of its own by Celery's signal, which costs each task more."""
        super().on_bound(app)
        if cls.on_success is not RunTask.on_success:
            signals.task_success.connect(_succeeded)

    def on_replace(self, sig: Any) -> Any:
        """Let the replacement, which has this run's id, be executed; Celery sends it, then ends this task."""
        if not self.request.is_eager:
            name = sig.get("subtask_type")
            reason = f"It replaced itself by {f'a {name}' if name else sig.task}"
            replaced = (self.request.replaced_task_nesting or 0) + 1
            with db.engine.begin() as connection:
                claims.hand_over(connection, self.request.id, presence.worker_id(), reason, replaced, sig, now())
            broker.tell_pages([self.request.id])
        return super().on_replace(sig)


def _claim(task: str, request: Any, call: Concealed) -> claims.Verdict:
    """Claim the run of the request at hand; waits for a database that is away, then gives the message back."""
    info = request.delivery_info or {}
    delivery = claims.Delivery(
        run_id=request.id,
        task=task,
        args=_json(call.args),
        kwargs=_json(call.kwargs),
        sealed=call.sealed(),
        attempt=request.retries or 0,
        worker_id=presence.worker_id(),
        worker=request.hostname or "",
        queue=info.get("routing_key"),
        parent_id=request.parent_id,
        root_id=request.root_id,
        options=canvas.options_of_request(request),
        group_id=request.group,
        group_index=request.group_index,
        replaced=request.replaced_task_nesting or 0,
    )
    give_up = time.monotonic() + DATABASE_PATIENCE
    while True:
        try:
            return claims.claim_by_itself(db.engine, delivery, now())
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            if time.monotonic() > give_up:
                logger.exception("run %s given back, the database is away", request.id)
                raise Reject(reason="the database is away", requeue=True) from error
            time.sleep(0.5)


def _ended_unrecorded(request: Any) -> bool:
    """Whether the run ended before its worker went, which only the stream knows so far; then it is recorded now."""
    try:
        entry = unrecorded.end_of(broker.client(), request.id, request.retries or 0)
    except (redis.RedisError, OSError) as error:
        logger.warning("run %s is begun again, Redis cannot be asked whether it ended: %s", request.id, error)
        return False
    if entry is None:
        return False
    with db.engine.begin() as connection:
        recording.apply(connection, [entry])
    return True


# Made once: json.dumps() makes one for each value.
_encode = json.JSONEncoder(default=repr).encode
# What most tasks give.
_NULL = "null"


def _json(value: Any) -> str:
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001  # whatever a task gives, and however that says what it is: the run has succeeded
        return _encode(saferepr(value))


def _known(sender: Any) -> bool:
    return isinstance(sender, RunTask)


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    tell_received(request)


def _succeeded(sender: Any, result: Any, **_: Any) -> None:
    if _known(sender) and type(sender).on_success is not RunTask.on_success:
        RunTask.on_success(sender, result, sender.request.id, None, None)


@signals.task_failure.connect
def _failed(sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
    """Told by the process that executed, or by the main process when that one is gone."""
    if not _known(sender):
        return
    request = sender.request
    ours = request.id == task_id
    told = _Told(task_id, request.retries if ours else 0, request.hostname, sender.name)
    trace = getattr(einfo, "traceback", None) or "".join(traceback_module.format_exception(exception))
    tell(told, Event.FAILED, _headline(exception), str(trace), _seconds(request) if ours else None)
    if ours and request.replaced_task_nesting:
        # A run that replaced itself by a chain or a chord waits for an end that will not come now.
        why = executing.hidden(task_id, _headline(exception))
        reason = f"PartFailed: {sender.name}, which came before its end, failed with {why}"
        for run_id in canvas.ids_after(canvas.options_of_request(request)):
            tell(_Told(run_id, 0, request.hostname, ""), Event.FAILED, reason)


@signals.task_retry.connect
def _retrying(request: Any, reason: Any, **_: Any) -> None:
    cause = getattr(reason, "exc", None)
    tell(request, Event.RETRYING, _headline(cause) if isinstance(cause, BaseException) else str(reason))


@signals.task_revoked.connect
def _revoked(request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    if expired:
        text = "It expired before a worker was free"
    else:
        text = "Ended while it ran" if terminated else "Cancelled before it began"
    told = _Told(request.id, getattr(request, "retries", 0) or 0, request.hostname, getattr(request, "task", ""))
    tell(told, Event.EXPIRED if expired else Event.REVOKED, text)


@cache
def _listen_to_the_end() -> None:
    """Once in a process, and not before there is a secret: each task pays for being asked, and each call for itself."""
    signals.task_postrun.connect(_over, weak=False)


def _over(task_id: str, task: Any, **_: Any) -> None:
    """Forget the secrets, now that Celery has stored, told and logged all there is."""
    if _known(task) and getattr(task.request, _BEGUN, False):
        executing.end(task_id)


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _hide_in_logs(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        escape_in(handler)
        if not any(isinstance(known, executing.HidingFilter) for known in handler.filters):
            handler.addFilter(executing.HidingFilter())


def _seconds(request: Any) -> float | None:
    """How long the task of the request at hand has run; None when it was not begun here."""
    began: float | None = getattr(request, _CLOCK, None)
    return None if began is None else time.monotonic() - began


def _headline(exception: BaseException) -> str:
    text = str(exception)
    name = type(exception).__name__
    return f"{name}: {text}" if text else name


class _Told:
    """As much of a request as `tell` needs, where Celery's own is of another kind."""

    def __init__(self, run_id: str, retries: int, hostname: str | None, task: str) -> None:
        self.id = run_id
        self.task = task
        self.retries = retries
        self.hostname = hostname


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Connections cannot be shared with the process that we were copied from."""
    app = flask_app()
    with app.app_context():
        db.engine.dispose(close=False)
    for name in ("redis", "producers"):
        app.extensions.pop(name, None)
