"""Every started run ends, whatever its task raises, sets by hand or derives from; as its worker emits it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery import Task, signals
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from flask import Flask

from beatdesk.execution.ids import new_id
from tests.execution.test_exceptions import RefusedValue
from tests.runs.making import deliver, make_run
from tests.support import fresh
from webapp.extensions import celery, db
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = [
    pytest.mark.each_database,
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Exception raised outside body:RuntimeWarning"),
]
Make = Callable[..., Task]
Execute = Callable[..., Run]


@pytest.fixture
def make() -> Iterator[Make]:
    """Registers a task for the test."""
    made: list[str] = []

    def register(function: Callable[..., Any], **options: Any) -> Task:
        # Celery compiles a signature of this name.
        function.__name__ = "work"
        made.append(f"tests.ends.{len(made)}")
        return celery.task(function, name=made[-1], shared=False, **options)

    yield register
    for name in made:
        celery.tasks.pop(name, None)


@pytest.fixture
def execute(context: Flask, redis: redis_client.Redis, valkey_url: str) -> Iterator[Execute]:
    """Executes a task as its run and records what that emitted; yields the row."""
    recorder = Recorder(db.engine, valkey_url)
    recorder.step()

    def run(task: Task, *args: Any, **headers: Any) -> Run:
        run_id = make_run(RunState.QUEUED, id=new_id(), task=task.name)
        # What the worker's main process does with the outcome: it must not raise.
        outcome = deliver(task, run_id, args, **headers)
        if outcome.info is not None:
            raised = outcome.retval.exception
            assert not isinstance(getattr(raised, "exc", raised), SystemExit | MemoryError)
        while recorder.step():
            pass
        return fresh(Run, run_id)

    yield run
    recorder.redis.close()


class OwnBase(Task):
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


class Hooks(Task):
    abstract = True

    def on_failure(self, *_: Any) -> None:
        raise RuntimeError("the hook of a failure")

    def on_success(self, *_: Any) -> None:
        raise RuntimeError("the hook of a success")

    def after_return(self, *_: Any) -> None:
        raise RuntimeError("the hook of an end")


@pytest.mark.parametrize("base", [Task, OwnBase, AbortableTask])
def test_whatever_a_task_derives_from_it_is_claimed_and_recorded(make: Make, execute: Execute, base: type) -> None:
    run = execute(make(lambda: 5, base=base))
    assert (run.state, run.result, run.claims) == (RunState.SUCCEEDED, "5", 1)
    run = execute(make(lambda: int("x"), base=base))
    assert (run.state, run.claims) == (RunState.FAILED, 1)
    assert (run.error or "").startswith("ValueError: invalid literal")


@pytest.mark.parametrize("base", [Task, OwnBase, AbortableTask])
def test_a_duplicate_leaves_no_trace_whatever_its_task_derives_from(
    context: Flask, redis: redis_client.Redis, make: Make, base: type
) -> None:
    executed: list[int] = []
    task = make(lambda: executed.append(1), base=base)
    run_id = make_run(RunState.QUEUED, id=new_id(), task=task.name)
    seen: list[object] = []

    def see(**given: Any) -> None:
        seen.append(given["task_id"])

    signals.task_prerun.connect(see)
    try:
        deliver(task, run_id)
        deliver(task, run_id)
    finally:
        signals.task_prerun.disconnect(see)
    assert (executed, seen) == ([1], [run_id])


class NoText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text to be had")

    __repr__ = __str__


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        (Ignore(), RunState.REVOKED, "Ignore"),
        (Reject("not now", requeue=False), RunState.FAILED, "not now"),
        (SystemExit(3), RunState.FAILED, "SystemExit: 3"),
        (KeyboardInterrupt(), RunState.FAILED, "KeyboardInterrupt"),
        (GeneratorExit(), RunState.FAILED, "GeneratorExit"),
        (MemoryError("too much"), RunState.FAILED, "MemoryError: too much"),
        (SoftTimeLimitExceeded(), RunState.FAILED, "SoftTimeLimitExceeded"),
        (NoText(), RunState.FAILED, "NoText"),
    ],
)
def test_what_a_task_raises_ends_it_once(
    make: Make, execute: Execute, error: BaseException, state: RunState, text: str
) -> None:
    run = execute(make(raising(error)))
    assert (run.state, run.claims) == (state, 1)
    assert text in (run.error or run.reason or "")
    assert run.ended_at is not None


def test_hooks_that_raise_do_not_hide_how_a_run_ended(make: Make, execute: Execute) -> None:
    run = execute(make(lambda: 5, base=Hooks))
    assert (run.state, run.result) == (RunState.SUCCEEDED, "5")
    run = execute(make(raising(ValueError("the cause")), base=Hooks))
    assert (run.state, run.error) == (RunState.FAILED, "ValueError: the cause")


@pytest.mark.parametrize(
    ("state", "meta", "ended", "text"),
    [
        ("FAILURE", {"exc_type": "ValueError", "exc_message": ["by hand"]}, RunState.FAILED, "ValueError: by hand"),
        ("FAILURE", {"exc_type": "E", "exc_message": "text", "exc_module": "m"}, RunState.FAILED, "E: text"),
        ("SUCCESS", {"n": 1}, RunState.SUCCEEDED, '{"n": 1}'),
        ("REVOKED", None, RunState.REVOKED, "Ignore"),
        ("BOOKED", {"n": 1}, RunState.REVOKED, "Ignore"),
    ],
)
@pytest.mark.parametrize("by", ["update_state", "backend"])
def test_a_state_set_by_hand_before_ignore_is_how_it_ended(  # noqa: PLR0917  # the parameters of a table
    make: Make, execute: Execute, state: str, meta: Any, ended: RunState, text: str, by: str
) -> None:
    def work(self: Task) -> None:
        if by == "update_state":
            self.update_state(state=state, meta=meta)
        else:
            self.backend.store_result(self.request.id, meta, state)
        raise Ignore

    run = execute(make(work, bind=True))
    assert run.state == ended
    assert text in (run.error or run.reason or run.result or "")


def test_a_retry_whose_cause_has_no_text_waits_and_then_fails(make: Make, execute: Execute) -> None:
    task = make(lambda self: self.retry(exc=NoText(), countdown=0), bind=True, max_retries=1)
    assert execute(task).state == RunState.RETRYING
    run = execute(task, retries=1)
    assert (run.state, (run.error or "").startswith("NoText")) == (RunState.FAILED, True)


def test_a_message_that_its_task_gives_back_is_executed_when_it_comes_again(
    context: Flask, redis: redis_client.Redis, make: Make
) -> None:
    times: list[int] = []

    def work() -> int:
        times.append(1)
        if len(times) < 7:
            raise Reject("later", requeue=True)
        return len(times)

    task = make(work)
    run_id = make_run(RunState.QUEUED, id=new_id(), task=task.name)
    for _ in range(6):
        outcome = deliver(task, run_id, delivery_info={"redelivered": bool(times)})
        assert outcome.info.retval.requeue is True
        row = fresh(Run, run_id)
        assert (row.state, row.claimed_by, row.claims) == (RunState.QUEUED, None, 0)
    assert deliver(task, run_id, delivery_info={"redelivered": True}).retval == 7


def test_an_argument_may_be_called_self(make: Make, context: Flask, redis: redis_client.Redis) -> None:
    task = make(lambda self, value: [self, value])
    run_id = make_run(RunState.QUEUED, id=new_id(), task=task.name)
    assert deliver(task, run_id, (), {"self": 1, "value": 2}).retval == [1, 2]


def test_progress_set_as_a_state_shows_and_does_not_end_the_run(make: Make, execute: Execute) -> None:
    def work(self: Task) -> str:
        self.update_state(state="PROGRESS", meta={"current": 3, "total": 3, "status": "packing"})
        return "done"

    run = execute(make(work, bind=True))
    assert (run.progress_done, run.progress_total, run.progress_text) == (3, 3, "packing")
    assert run.state == RunState.SUCCEEDED


def test_a_claim_that_breaks_fails_the_run_and_not_the_worker(
    make: Make, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise sa.exc.ProgrammingError("UPDATE", {}, Exception("no such column"))

    executed: list[int] = []
    task = make(lambda: executed.append(1))
    monkeypatch.setattr(sys.modules["webapp.run_store.claims"], "claim_by_itself", broken)
    run = execute(task)
    assert (run.state, executed) == (RunState.FAILED, [])
    assert "no such column" in (run.error or "")


@pytest.mark.parametrize("base", [Task, Hooks])
def test_an_exception_that_cannot_be_pickled_keeps_its_name(make: Make, execute: Execute, base: type) -> None:
    def work() -> None:
        raise RefusedValue(4, "no")

    run = execute(make(work, base=base))
    assert (run.state, run.error) == (RunState.FAILED, "RefusedValue: 4 no")
    assert "RefusedValue: 4 no" in (run.traceback or "").splitlines()[-1]
