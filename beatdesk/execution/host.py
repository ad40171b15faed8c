"""The port to the program that executes runs: everything that the code around a task needs from outside.

Where claims are stored, what is set up around a run and how Redis is reached is up to the host. That of our own worker
uses the database (`webapp.worker_process.host`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis
from celery import Celery

from beatdesk.execution.current import Execution
from beatdesk.execution.events import Entry
from beatdesk.execution.ids import external_id
from beatdesk.secrecy.masking import Rule, rule_of


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as a worker received it, its arguments as runs keep them. `attempt` is Celery's count of retries.

    `replaced` is how many tasks with this id replaced themselves until it was sent. `task_id` is the id that the
    message has; `ours` says that Beatdesk sent it, for the run `run_id`. `received` is when the worker received it, in
    epoch seconds; `redelivered` says that the broker has delivered this very message before.
    """

    run_id: str
    task: str
    args: str
    kwargs: str
    attempt: int
    worker_id: str
    worker: str
    queue: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    options: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    replaced: int = 0
    sealed: str | None = None
    task_id: str = ""
    ours: bool = True
    received: float | None = None
    redelivered: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it goes on with a run, or is delivered once more, rather than that it begins one."""
        return bool(self.attempt or self.replaced or self.redelivered)

    @property
    def external_id(self) -> str | None:
        """The message's own id as it is kept beside the run's, where it is another one."""
        return None if self.task_id in ("", self.run_id) else external_id(self.task_id)


class Claimed(NamedTuple):
    """A run that was claimed: its id, which may be another one than the message has.

    Where Redis has the claim, `claim` is what the recorder has to know of it (see `events.Entry`), and `over` the
    command that marks it as over.
    """

    run_id: str
    claim: str = ""
    over: tuple[Any, ...] = ()


class Host(ABC):
    """What executes runs. `app` is its Celery app; tasks of other apps in the same process are left alone.

    `owns_worker` says that the worker is Beatdesk's own: outcomes and log lines are masked, and no exception of a task
    ends the worker. Of another project's worker all that stays as it is. `enabled` is whether anything is done at all.
    """

    app: Celery
    owns_worker = True
    enabled = True

    @property
    @abstractmethod
    def worker_id(self) -> str:
        """This worker's identity, new at each start and the same in all processes of its pool."""

    @abstractmethod
    def redis(self) -> redis.Redis:
        """The client of the Redis that has the stream; text in, text out."""

    @abstractmethod
    def context(self) -> AbstractContextManager[Any]:
        """The context entered around each run, its claim included."""

    @abstractmethod
    def claim(self, delivery: Delivery, task: Any, request: Mapping[str, Any]) -> Claimed:
        """Claim the run of a delivery, which the task's request is.

        Raises Ignore for a duplicate, and Reject to give back the message where no claim can be made now.
        """

    @abstractmethod
    def give_back(self, execution: Execution, reason: str) -> None:
        """Release the claim of a run, because its task gave the message back and the broker delivers it again."""

    @abstractmethod
    def hand_over(self, execution: Execution, reason: str, replaced: int, signature: Any) -> None:
        """Leave a claimed run to the signature that replaces its task, the `replaced`th one of this run."""

    def handed_over(self, execution: Execution) -> None:  # noqa: B027  # a claim in a database needs it not
        """Note that the message of that signature was sent. Never raises."""

    @abstractmethod
    def started_here(self, task_id: str, message: Mapping[str, Any]) -> tuple[str, int] | None:
        """The run of a task id that this worker has claimed, and its attempt. Never raises."""

    def over(self, run_id: str, message: Mapping[str, Any]) -> tuple[Any, ...]:
        """The command that marks the claim of a message as over; empty where Redis has none."""
        return ()

    @abstractmethod
    def record(self, entry: Entry) -> None:
        """Record an entry that Redis does not take. Never raises."""


_host: Host | None = None


def set_host(host: Host) -> None:
    """Use this host, once in a process and before anything is executed."""
    global _host  # noqa: PLW0603  # one process has one worker
    _host = host


def find_host() -> Host | None:
    """The host of this process, if it has one."""
    return _host


def get_host() -> Host:
    """The host of this process."""
    if _host is None:
        raise RuntimeError("no host was set: nothing is executed in this process")
    return _host


def rule_for(task: str) -> Rule:
    """Which arguments of a task are secret; of one that the host's app does not have those whose names say so."""
    return rule_of(get_host().app.tasks.get(task))
