"""The parts of a report."""

from __future__ import annotations

from typing import Any

from celery import Task, chain, chord, group, shared_task

from tests.adoption.projects import ledger


@shared_task(name="canvas.record", bind=True)
def record(self: Task, call: str) -> str:
    """One line in the ledger."""
    ledger.write(call, str(self.request.id))
    return call


@shared_task(name="canvas.part", bind=True)
def part(self: Task, call: str, number: int) -> int:
    """One part of a chord."""
    ledger.write(f"part{number}-{call}", str(self.request.id))
    return number


@shared_task(name="canvas.total", bind=True)
def total(self: Task, numbers: list[int], call: str) -> int:
    """The body of a chord."""
    ledger.write(f"total{sum(numbers)}-{call}", str(self.request.id))
    return sum(numbers)


@shared_task(name="canvas.step", bind=True)
def step(self: Task, before: Any, call: str) -> Any:
    """One step of a chain."""
    ledger.write(f"step-{call}", str(self.request.id))
    return before


@shared_task(name="canvas.flaky", bind=True, max_retries=2, default_retry_delay=0)
def flaky(self: Task, call: str) -> str:
    """Succeed at the second attempt."""
    ledger.write(f"flaky{self.request.retries}-{call}", str(self.request.id))
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return call


@shared_task(name="canvas.planned", bind=True)
def planned(self: Task, call: str) -> str:
    """Replace itself by a group that only it can plan."""
    ledger.write(f"planned-{call}", str(self.request.id))
    raise self.replace(group(record.si(f"first-{call}"), record.si(f"second-{call}")))


@shared_task(name="canvas.slow", bind=True)
def slow(self: Task, call: str) -> None:
    """Acknowledged late, as all of this project: executed again when its worker is lost."""
    ledger.write(call, str(self.request.id))
    ledger.wait_for_gate()


def report(call: str) -> None:
    """All of it for one call."""
    chord([part.s(call, 1), part.s(call, 2)], total.s(call) | step.s(call)).apply_async()
    chain(flaky.s(call), step.s(f"after-{call}")).apply_async()
    planned.delay(call)
