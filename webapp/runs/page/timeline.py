"""The timeline of one run, its waiting time and runtime, and advice on what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beatdesk.encoding import shortened
from webapp.run_store.models import Run
from webapp.run_store.statements import NOT_SENT
from webapp.run_store.states import Origin, RunState
from webapp.web.formats import duration, plural

MAX_NOTE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Step:
    """One step in the timeline of a run; `at` is None while it is unknown."""

    name: str
    at: datetime | None
    note: str = ""
    done: bool = True


@dataclass(frozen=True, slots=True)
class Times:
    """Durations of a run in seconds, None where they are not known yet. `late` is counted from its due time."""

    waited: float | None
    ran: float | None
    late: float | None


def times(run: Run) -> Times:
    """How long the run waited from when it could begin, how long it ran, and how late it was."""
    ready = max(run.created_at, run.eta) if run.eta else run.created_at
    waited = (run.started_at - ready).total_seconds() if run.started_at else None
    # When an unconfirmed run ended is not known, only when that was given up.
    ended_at = None if run.state == RunState.UNCONFIRMED else run.ended_at
    ran = (ended_at - run.started_at).total_seconds() if run.started_at and ended_at else None
    late = (run.started_at - run.due_at).total_seconds() if run.started_at and run.due_at else None
    return Times(None if waited is None else max(waited, 0.0), ran, None if late is None else max(late, 0.0))


_ORIGINS: dict[str, str] = {
    Origin.SCHEDULE: "by its schedule",
    Origin.LAUNCH: "by a launch",
    Origin.RETRY: "as a retry",
    Origin.REGISTRATION: "by a registration",
    Origin.TASK: "by another task",
    Origin.COMMAND: "from the command line",
}


def steps(run: Run, attempts: Sequence[Any] = ()) -> list[Step]:
    """The steps from its creation to its end; an ended run has only those that happened.

    `attempts` are the last of those that failed and were followed by another one, each with `at` and `text`, oldest
    first.
    """
    made = [Step("Created", run.created_at, _ORIGINS.get(run.origin, run.origin))]
    if run.eta is not None:
        made.append(Step("Held until", run.eta, done=run.state != RunState.HELD))
    made += [
        Step("Sent", run.sent_at, f"{run.sends} times" if run.sends > 1 else "", done=run.sent_at is not None),
        *_received(run),
        Step("Started", run.started_at, _start(run), done=run.started_at is not None),
    ]
    first = max(run.attempt + (run.state == RunState.RETRYING) - len(attempts), 0) + 1
    made += [
        Step(f"Attempt {number} failed", each.at, shortened(each.text, MAX_NOTE_LENGTH))
        for number, each in enumerate(attempts, first)
    ]
    made.append(_end(run))
    return [step for step in made if step.at is not None] if run.ended else made


def _received(run: Run) -> list[Step]:
    """The step "Received", which the worker of a short run reports only with the end: until then it is left out."""
    if run.received_at is None and run.started_at is not None:
        return []
    return [Step("Received", run.received_at, done=run.received_at is not None)]


def _start(run: Run) -> str:
    waited = times(run).waited
    if waited is None:
        return ""
    again = f"; retried {plural(run.attempt, 'time')}" if run.attempt else ""
    return f"waited {duration(waited)}{again}"


def _end(run: Run) -> Step:
    if not run.ended:
        return Step("Ended", None, done=False)
    ran = times(run).ran
    note = f"ran {duration(ran)}" if ran is not None else ""
    # A run that was missed or skipped ended when it was created.
    return Step(run.state.capitalize(), run.ended_at or run.created_at, note)


def advice(run: Run) -> str:
    """A sentence on what to do next; empty if there is nothing to do."""
    if run.state == RunState.QUEUED and run.sent_at is None:
        if (run.reason or "").startswith(NOT_SENT):
            return "The run is sent once its queue exists. Start the worker that declares it, or cancel the run."
        return "The broker has not accepted the message yet. The leading beat sends it when the broker is back."
    if run.state == RunState.FAILED and not run.traceback:
        return "Fix the cause of the error, then retry the run."
    sentences = {
        RunState.HELD: "The leading beat sends the run at that time. You can cancel it until then.",
        RunState.QUEUED: "The run waits for a free worker on its queue. If it waits long, check the workers.",
        RunState.STARTED: "Cancelling asks the worker to terminate the run, which not every pool supports.",
        RunState.RETRYING: "The last attempt failed. The next one starts automatically.",
        RunState.FAILED: "Fix the cause shown in the traceback, then retry the run. Change its arguments if needed.",
        RunState.REVOKED: "The run was cancelled. Retry it if it should run after all.",
        RunState.EXPIRED: "The run did not start in time. Retry it if it is still needed.",
        RunState.UNCONFIRMED: "Check whether the run was executed. If it was, mark it as "
        "succeeded. If not, send it again. If it was executed after all, it runs twice.",
        RunState.SKIPPED: "The run was skipped on purpose. Retry it to run it now.",
        RunState.MISSED: "The run could not be sent when it was due. Retry it to run it now.",
    }
    return sentences.get(RunState(run.state), "")
