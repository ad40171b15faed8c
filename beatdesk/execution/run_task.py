"""Executes a delivery as its run: a claim before it, and an end for everything that began.

1. Find the run that the delivery belongs to, and claim it. A duplicate gets the outcome of Celery's `Ignore`: Celery
   stores no result, calls no hook and sends no signal for it.
2. Let Celery's own tracer execute the task.
3. Emit how it ended, from the tracer's outcome. An exception that escapes from the tracer (`SystemExit`, one from a
   hook) is a failure too: Celery would take the process for lost, or report nothing.
"""

from __future__ import annotations

import json
import logging
import time
import traceback as traceback_module
from collections.abc import Callable, Mapping
from typing import Any

from billiard import common as billiard_common
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery import Task, states
from celery.app.task import Context
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded, WorkerShutdown, WorkerTerminate
from celery.utils.saferepr import saferepr
from celery.utils.serialization import UnpickleableExceptionWrapper

from beatdesk.encoding import NAME_LENGTH
from beatdesk.execution import canvas, reporting, tracing
from beatdesk.execution.current import Execution, current, current_of, reset_current, set_current
from beatdesk.execution.emitter import RECEIVED, Subject, emit, emit_started
from beatdesk.execution.events import Event
from beatdesk.execution.exceptions import headline, headline_of_meta
from beatdesk.execution.host import Delivery, Host, get_host, set_host
from beatdesk.execution.ids import id_of_task
from beatdesk.execution.message import RUN_HEADER, relatives_of, run_of_message
from beatdesk.secrecy import executing
from beatdesk.secrecy.masking import Concealed, conceal, masked, masked_value, rule_of
from beatdesk.secrecy.text import MASK, is_suspicious

logger = logging.getLogger(__name__)


class RunTask(Task):
    """The base of tasks that name no other."""

    abstract = True
    # A worker that was lost is replaced within seconds; Celery's own default waits three minutes.
    default_retry_delay = 5

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run. In workers Celery's own would take a keyword argument that is called self for the task."""
        return self.run(*args, **kwargs)


class TaskExitedError(Exception):
    """A task raised an exception that Celery's main process would obey itself, such as SystemExit or MemoryError."""


def execute(task: Any, trace: Callable[[], Any], task_id: Any, request: dict[str, Any]) -> Any:
    """Execute a delivery as its run; gives the outcome that the pool hands to the worker."""
    if not get_host().enabled:
        return trace()
    execution = _execution(task, task_id, request)
    with get_host().context():
        try:
            kwargs = request["kwargs"] if isinstance(request["kwargs"], dict) else {}
            call = conceal(rule_of(task), request["args"] or (), kwargs)
            delivery = _delivery(execution, call, request)
            execution.id, execution.claim, execution.over = get_host().claim(delivery, task, request)
            if execution.id != execution.task_id:
                # Goes along with retries, as do all headers that are not Celery's own.
                request[RUN_HEADER] = execution.id
        except (Ignore, Reject) as refusal:
            return _unexecuted(refusal)
        except Exception as error:
            if not get_host().owns_worker and not isinstance(error, SoftTimeLimitExceeded):
                # Arguments of any class, as pickle brings them: their project can execute them.
                logger.exception("task %s is executed without a record", execution.task_id)
                return trace()
            logger.exception("run %s cannot be claimed", execution.id)
            return _fail(task, execution, request, error, is_stored=False)
        token = set_current(execution)
        if call.any:
            executing.begin(execution.id, call.texts)
        try:
            return _traced(task, trace, execution, request)
        finally:
            reset_current(token)
            reporting.finish(execution)
            # Celery has stored, sent and logged everything by now.
            executing.end(execution.id)


def _execution(task: Any, task_id: Any, request: Mapping[str, Any]) -> Execution:
    task_id = task_id if isinstance(task_id, str) else repr(task_id)
    received = request.get(RECEIVED)
    return Execution(
        id=run_of_message(request) or id_of_task(task_id),
        task_id=task_id,
        task=task.name,
        retries=request.get("retries") or 0,
        hostname=request.get("hostname") or "",
        beatdesk_received=received if isinstance(received, float) else None,
    )


def _delivery(execution: Execution, call: Concealed, request: Mapping[str, Any]) -> Delivery:
    info = request.get("delivery_info") or {}
    queue = info.get("routing_key")
    return Delivery(
        run_id=execution.id,
        task_id=execution.task_id,
        ours=run_of_message(request) is not None,
        task=execution.task[:NAME_LENGTH],
        args=_json(call.args),
        kwargs=_json(call.kwargs),
        sealed=call.sealed(),
        attempt=execution.retries,
        worker_id=get_host().worker_id,
        worker=execution.hostname[:NAME_LENGTH],
        queue=queue[:NAME_LENGTH] if isinstance(queue, str) else None,
        options=canvas.options_of(request, request),
        group_index=request.get("group_index"),
        replaced=request.get("replaced_task_nesting") or 0,
        received=execution.beatdesk_received,
        redelivered=bool(info.get("redelivered")),
        **relatives_of(request),
    )


def _traced(task: Any, trace: Callable[[], Any], execution: Execution, request: dict[str, Any]) -> Any:
    execution.began = time.monotonic()
    emit_started(execution)
    try:
        outcome = trace()
    except Reject as rejection:
        # From a hook of the task's own, after its end was stored.
        outcome = _unexecuted(rejection)
    except BaseException as error:
        if _is_order(error):
            raise
        if not isinstance(error, Exception) and not get_host().owns_worker:
            # Its process ends; not every version of Celery says that the task has failed. The message may come back.
            if isinstance(error, SystemExit) and not (task.acks_late and task.reject_on_worker_lost):
                _emit_failed(execution, error, request)
            raise
        return _fail(task, execution, request, error, is_stored=isinstance(error, Exception))
    _emit_end_at_last(execution, outcome, request)
    if not get_host().owns_worker:
        return outcome
    try:
        outcome = _without_secrets(execution.id, outcome)
    except Exception:
        # The run has succeeded, whatever its result does when it is inspected.
        logger.exception("run %s: its outcome cannot be inspected", execution.id)
        outcome = outcome._replace(retstr=MASK)
    return _harmless(outcome)


def _without_secrets(run_id: str, outcome: Any) -> Any:
    """The outcome without secrets: Celery makes events of it, which every monitor on the broker can read."""
    value, info = outcome[0], outcome[1]
    if info is None:
        shown = outcome.retstr
        if not isinstance(shown, str) or not (executing.has_secrets() or is_suspicious(shown)):
            return outcome
        return outcome._replace(retstr=saferepr(masked_value(executing.hidden_in(run_id, value)), len(shown)))
    if isinstance(value, ExceptionInfo) and info.state in (states.FAILURE, states.RETRY):
        value.traceback = executing.hidden(run_id, value.traceback)
        raised = value.exception.exc if isinstance(value.exception, ExceptionWithTraceback) else value.exception
        error = raised.exc if isinstance(raised, Retry) else raised
        text = headline(error) if isinstance(error, Exception) else ""
        if (shown := executing.hidden(run_id, text)) != text:
            module, name = type(error).__module__, type(error).__name__
            said = shown.removeprefix(f"{name}: ")
            instead = UnpickleableExceptionWrapper(module, name, (said,), f"{name}({said!r})")
            if isinstance(raised, Retry):
                raised.exc = instead
            else:
                value.exception = instead
    return outcome


def _is_order(error: BaseException) -> bool:
    """Whether the process itself is to end, rather than that the task raised something unusual."""
    if isinstance(error, SystemExit) and billiard_common.terminate_handler_fired():
        return True
    # A greenlet that is killed, as by a cancellation; gevent and eventlet have the same class.
    return isinstance(error, WorkerShutdown | WorkerTerminate) or type(error).__name__ == "GreenletExit"


def _emit_end_at_last(execution: Execution, outcome: Any, request: Mapping[str, Any]) -> None:
    try:
        _emit_end(execution, outcome, request)
    except Exception:  # a soft time limit that is over just now; Celery raises it once
        logger.exception("run %s: its end is emitted again", execution.id)
        try:
            _emit_end(execution, outcome, request)
        except Exception:
            if get_host().owns_worker:
                raise
            # Another project's task has ended all the same.
            logger.exception("run %s: its end is not recorded", execution.id)


def _emit_end(execution: Execution, outcome: Any, request: Mapping[str, Any]) -> None:
    """Emit the end that the tracer's outcome has: a returned value, or what was raised."""
    value, info = outcome[0], outcome[1]
    if info is None:
        result = "null" if value is None else masked(_json(executing.hidden_in(execution.id, value)))
        emit(execution, Event.SUCCEEDED, result, seconds=_seconds(execution))
    elif info.state == states.RETRY:
        emit(execution, Event.RETRYING, headline(info.retval))
    elif info.state == states.REJECTED:
        _emit_rejected(execution, info.retval)
    elif info.state == states.IGNORED:
        if execution.replaced:
            get_host().handed_over(execution)
        else:
            _emit_ignored(execution)
    else:
        # An error in a hook that Celery calls for a failure is not why the run failed.
        cause = execution.failure if getattr(value, "internal", False) else None
        _emit_failed(execution, cause or info.retval, request)


def _emit_failed(execution: Execution, error: BaseException, request: Mapping[str, Any]) -> None:
    trace = "".join(traceback_module.format_exception(error))
    emit(execution, Event.FAILED, headline(error), trace, _seconds(execution))
    if request.get("replaced_task_nesting"):
        # A run that replaced itself by a chain or a chord would wait for its end for ever.
        why = executing.hidden(execution.id, headline(error))
        reason = f"PartFailed: {execution.task}, which came before its end, failed with {why}"
        for run_id in canvas.ids_after(canvas.options_of(request, request)):
            emit(Subject(run_id, hostname=execution.hostname), Event.FAILED, reason)


def _emit_rejected(execution: Execution, rejection: Reject) -> None:
    reason = f"The task rejected its message: {saferepr(rejection.reason)}"
    if not rejection.requeue:
        emit(execution, Event.FAILED, reason, seconds=_seconds(execution))
        return
    # Before the broker delivers it again.
    get_host().give_back(execution, reason)


def _emit_ignored(execution: Execution) -> None:
    """The task raised `Ignore`: it ends with the state that it set by hand, or else as cancelled by itself."""
    state, meta = execution.state_set or (None, None)
    if state == states.SUCCESS:
        text = masked(_json(executing.hidden_in(execution.id, meta)))
        emit(execution, Event.SUCCEEDED, text, seconds=_seconds(execution))
    elif state == states.FAILURE:
        emit(execution, Event.FAILED, headline_of_meta(meta), seconds=_seconds(execution))
    else:
        emit(execution, Event.REVOKED, "The task raised Ignore, which means that it has no result")


def _fail(task: Any, execution: Execution, request: dict[str, Any], error: BaseException, *, is_stored: bool) -> Any:
    """Fail a run by an exception from before Celery's tracer, or one that escaped from it; gives the outcome.

    Where it `is_stored`, Celery has stored it in the result backend, called hooks and links, and sent signals.
    """
    cause = execution.failure or error
    _emit_failed(execution, cause, request)
    if not is_stored:
        try:
            TraceInfo(states.FAILURE, error).handle_error_state(task, Context(request))
        except Exception:
            logger.exception("run %s: its failure cannot be stored in the result backend", execution.id)
    return _harmless(trace_ok_t(ExceptionInfo(), TraceInfo(states.FAILURE, cause), 0.0, None))


def _harmless(outcome: Any) -> Any:
    """The outcome without an exception that the worker's main process would raise in itself."""
    shown = getattr(outcome[0], "exception", None) if outcome[1] is not None else None
    shown = getattr(shown, "exc", shown)
    if shown is None or (isinstance(shown, Exception) and not isinstance(shown, MemoryError)):
        return outcome
    return trace_ok_t(_raised(TaskExitedError(headline(shown))), outcome[1], outcome[2], None)


def _unexecuted(refusal: Ignore | Reject) -> Any:
    """The outcome of a task that raised this; Celery stores and sends nothing for it."""
    state = states.IGNORED if isinstance(refusal, Ignore) else states.REJECTED
    return trace_ok_t(_raised(refusal), TraceInfo(state, refusal), 0.0, None)


def _raised(error: Exception) -> ExceptionInfo:
    try:
        raise error
    except type(error):
        return ExceptionInfo(internal=True)


def _before_replace(task: Any, sig: Any) -> None:
    """Let the replacement, which has this run's id, be executed; Celery sends it, then ends this task."""
    execution = current_of(task.request.id)
    if execution is None or task.request.is_eager:
        return
    name = sig.get("subtask_type")
    reason = f"It replaced itself with {f'a {name}' if name else sig.task}"
    replaced = (task.request.replaced_task_nesting or 0) + 1
    get_host().hand_over(execution, reason, replaced, sig)
    execution.replaced = True


def _state_set(task_id: Any, state: Any, meta: Any) -> None:
    execution = current()
    if execution is not None and execution.task_id == task_id:
        execution.state_set = (state, meta)
        if state not in _STATES_OF_CELERY:
            reporting.report_meta(meta)


_STATES_OF_CELERY = states.ALL_STATES


def install(host: Host) -> None:
    """Execute the tasks of the host's app as runs from now on. Once in a process."""
    set_host(host)
    tracing.install(host.app, execute, _before_replace, _state_set)


# Made once: json.dumps() makes one for each value.
_encode = json.JSONEncoder(default=repr).encode


def _json(value: Any) -> str:
    try:
        return _encode(value)
    except Exception:  # noqa: BLE001  # the result of a task and its `repr` may raise anything: the run has succeeded
        return _encode(saferepr(value))


def _seconds(execution: Execution) -> float:
    """How long the task has run."""
    return time.monotonic() - execution.began
