"""Entries emitted for a task that goes through Celery's own tracer, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_client
from celery import Task
from flask import Flask

from beatdesk.execution.events import OVER, STREAM, Entry, Event
from tests.runs.making import deliver, make_run
from tests.servers import wait_for
from tests.support import fresh
from webapp.extensions import celery
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

Execute = Callable[[Task], list[Entry]]


@pytest.fixture
def execute(context: Flask, redis: redis_client.Redis) -> Iterator[Execute]:
    """Executes a task as a worker does; yields the ends that it emitted."""
    made: list[str] = []

    def run(task: Task) -> list[Entry]:
        made.append(task.name)
        run_id = make_run(RunState.QUEUED, task=task.name)
        deliver(task, run_id, ignore_result=True)
        assert fresh(Run, run_id).state == RunState.STARTED
        ends: list[Entry] = wait_for(lambda: [entry for entry in emitted() if entry.event in OVER])
        return ends

    def emitted() -> list[Entry]:
        return [Entry.parse(fields) for _, fields in redis.xrange(STREAM)]

    yield run
    for name in made:
        celery.tasks.pop(name)


def giving(give: Callable[[], object], **options: Any) -> Task:
    def work() -> object:
        return give()

    return celery.task(work, name="tests.gives", shared=False, **options)


class Mute:
    def __repr__(self) -> str:
        raise ValueError("says nothing")


def circular() -> list[Any]:
    made: list[Any] = [1]
    made.append(made)
    return made


def deep() -> list[Any]:
    made: list[Any] = []
    for _ in range(5_000):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("result", "recorded"),
    [
        (None, None),
        ({"n": 1}, {"n": 1}),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({1}, "{1}"),
    ],
)
def test_any_result_is_recorded(execute: Execute, result: object, recorded: object) -> None:
    [entry] = execute(giving(lambda: result))
    assert (entry.event, json.loads(entry.text)) == (Event.SUCCEEDED, recorded)


@pytest.mark.parametrize("make", [Mute, circular, deep])
def test_result_without_a_representation_is_recorded_too(execute: Execute, make: Callable[[], object]) -> None:
    [entry] = execute(giving(make))
    assert entry.event is Event.SUCCEEDED
    assert isinstance(json.loads(entry.text), str)


@pytest.mark.parametrize("calls_ours", [False, True])
def test_a_task_may_have_an_on_success_of_its_own(execute: Execute, calls_ours: bool) -> None:
    seen: list[object] = []

    def on_success(self: Any, retval: object, *rest: Any) -> None:
        seen.append(retval)
        if calls_ours:
            super(type(self), self).on_success(retval, *rest)

    entries = execute(giving(lambda: 5, on_success=on_success))
    assert seen == [5]
    # Emitted twice, applied once.
    assert {(entry.event, entry.text) for entry in entries} == {(Event.SUCCEEDED, "5")}
