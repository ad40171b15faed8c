"""What the shop does."""

from __future__ import annotations

from typing import Any

from celery import Task

from tests.adoption.projects import ledger
from tests.adoption.projects.plain.app import app


class Audited(Task):
    """The base of all its tasks: counts calls and takes note of failures."""

    abstract = True
    begun = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.begun += 1
        return super().__call__(*args, **kwargs)

    def on_failure(self, exc: Exception, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        ledger.write(f"failed-{args[0]}", task_id)


@app.task(name="plain.record", base=Audited, bind=True)
def record(self: Task, call: str) -> str:
    """One line in the ledger."""
    ledger.write(call, self.request.id or self.request.root_id)
    return call


@app.task(name="plain.place", base=Audited, bind=True, acks_late=True)
def place(self: Task, call: str) -> str:
    """Place an order, then send its mail."""
    ledger.write(f"place-{call}", str(self.request.id))
    send_mail.apply_async([call], priority=9)
    return call


@app.task(name="plain.mail.send", base=Audited, bind=True)
def send_mail(self: Task, call: str) -> None:
    """Send a mail."""
    ledger.write(f"mail-{call}", str(self.request.id))


@app.task(name="plain.refuse", base=Audited, bind=True)
def refuse(self: Task, call: str) -> None:
    """Fail, as orders do that are out of stock."""
    raise ValueError(f"out of stock: {call}")


@app.task(name="plain.slow", base=Audited, bind=True)
def slow(self: Task, call: str) -> None:
    """Acknowledged early, as by default: lost with its worker."""
    ledger.write(call, str(self.request.id))
    ledger.wait_for_gate()


@app.task(name="plain.slow_late", base=Audited, bind=True, acks_late=True)
def slow_late(self: Task, call: str) -> None:
    """Acknowledged late: executed again when its worker is lost."""
    ledger.write(call, str(self.request.id))
    ledger.wait_for_gate()
