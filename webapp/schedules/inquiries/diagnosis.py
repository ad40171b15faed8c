"""Why didn't it run? Follows a due time from the schedule to its result and finds the first link that is broken.

1. The schedule itself: enabled, able to fire, within its bounds.
2. No pause holds it back.
3. Beat: one leads, led already when it came due, and has loaded the last edit.
4. The occurrence: the run of the due time, and its state.
5. The broker answers and accepted the message.
6. The queue: an online worker consumes it.
7. The task: such a worker has registered it.
8. The result of the run.

If the run got past a link, that link was fine then, whatever its current state.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from webapp.extensions import db
from webapp.liveness import CLAIM_TIMEOUT
from webapp.messaging import broker
from webapp.recurrence.zones import zone
from webapp.run_store import promise, sending
from webapp.run_store.message import Destination
from webapp.run_store.models import Run
from webapp.run_store.statements import NOT_SENT
from webapp.run_store.states import UNENDED, RunState
from webapp.schedule_store.beat_models import Beat
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.status import Status, status_of
from webapp.schedule_store.stored import Stored
from webapp.schedules import fields, in_force
from webapp.schedules.holds import hold, hold_at
from webapp.task_catalogue.registry import find_task
from webapp.web import formats, installed
from webapp.web.bodies import is_empty
from webapp.workers import service as workers

# After this time, a message that is not sent is late: the leading beat should have sent it.
UNSENT_TIMEOUT = timedelta(seconds=30)
# Beat may still be processing a due time that is more recent than this.
PROCESSING_TIME = timedelta(seconds=5)
# How many consumers a sentence names.
MAX_NAMED = 3
NEVER_MADE = (RunState.MISSED, RunState.SKIPPED)
_ENDS = {RunState.FAILED: "failed", RunState.EXPIRED: "expired before it started", RunState.REVOKED: "was revoked"}
_PAUSES = "It is a global or tag pause: see the page Pauses."
_POLICIES = "The settings for missed runs and overlap decide this. Edit the schedule to change them."


class Finding(NamedTuple):
    """Whether a link is fine (None if unknown), what was found, and what to do."""

    holds: bool | None
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain, with its name and finding."""

    name: str
    holds: bool | None
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All links in order; `due_at` is the due time in question, None if there was none yet.

    `by_hand` is the newest manual run that has not ended, if the due time has no run.
    """

    due_at: datetime | None
    run: Run | None
    by_hand: Run | None
    links: Sequence[Link]

    @property
    def broken(self) -> Link | None:
        """The first link that is not fine."""
        return next((link for link in self.links if link.holds is False), None)

    @property
    def succeeded(self) -> bool:
        """Whether the run has succeeded."""
        return self.run is not None and self.run.state == RunState.SUCCEEDED


def diagnose(schedule: Stored, now: datetime, due_at: datetime | None = None) -> Diagnosis:
    """Examine the given due time; by default the first one without a run, otherwise the latest."""
    due_at = due_at or _default_due_time(schedule, now)
    return _Chain(schedule, due_at, _run_of(schedule, due_at), now).diagnosis()


class _Chain:
    """The chain of one due time of a schedule."""

    def __init__(self, schedule: Stored, due_at: datetime | None, run: Run | None, now: datetime) -> None:
        self.schedule, self.due_at, self.run, self.now = schedule, due_at, run, now
        self.made = run if run is not None and run.state not in NEVER_MADE else None
        self.by_hand = _unended_by_hand(schedule) if self.made is None else None
        self.begun = self.made if self.made is not None and self.made.started_at is not None else None
        self.aim = _destination(schedule, run)
        self.queues = _queues_of(self.aim)
        self.queue = "”, “".join(self.queues or ())
        consumers = promise.load(db.session.connection())
        others = {one.node for one in consumers if one.queue in (self.queues or ()) and not one.claims}
        self.others = ", ".join(sorted(others)[:MAX_NAMED])
        alive = [worker for worker in workers.workers(now) if worker.alive]
        self.consumers = [worker for worker in alive if set(worker.queues).intersection(self.queues or ())]

    def diagnosis(self) -> Diagnosis:
        findings = {
            "Schedule": self._enabled(),
            "Pause": self._pause(),
            "Beat": self._beat(),
            "Occurrence": self._occurrence(),
            "Broker": self._broker(),
            "Queue": self._queue(),
            "Task": self._task(),
            "Result": self._result(),
        }
        links = [Link(name, *finding) for name, finding in findings.items()]
        return Diagnosis(self.due_at, self.run, self.by_hand, links)

    def _enabled(self) -> Finding:
        schedule = self.schedule
        row = schedule.row
        if self.run is not None:
            since = "" if row.enabled else " It is disabled now."
            return Finding(True, f"It was enabled: beat processed this due time.{since}")
        match status_of(schedule, held=False):
            case Status.DONE:
                again = "Enable it to run it again; its run count starts over."
                return Finding(False, str(schedule.finished), again)
            case Status.DISABLED:
                return Finding(False, "It is disabled.", "Enable it; it runs at its next scheduled time.")
            case Status.BROKEN:
                return Finding(False, f"It cannot run: {str(schedule.problem).rstrip('.')}.", "Edit the schedule.")
        if not schedule.due_times(self.now, 1):
            limit = schedule.max_runs
            spent = f" It has run {schedule.runs} of {limit} times." if limit else ""
            return Finding(False, f"It has no further runs.{spent}", "Set a later end or a higher maximum.")
        return Finding(True, f"It is enabled and due: {schedule.words}.")

    def _pause(self) -> Finding:
        pauses = unsettled(db.session)
        held = hold_at(self.schedule, self.now, pauses)
        now = f" It is {held.told} now." if held else ""
        if self.made is not None:
            return Finding(True, f"It was not paused then.{now}")
        run = self.run
        if run is not None and run.state == RunState.SKIPPED and (run.reason or "").startswith("paused"):
            wide = f" {_PAUSES}" if run.pause_id is not None else ""
            return Finding(False, f"It was skipped: {run.reason}.", f"Resume it if it is still paused.{wide}")
        then = hold(self.schedule, self.due_at, pauses) if self.due_at is not None else held
        if then:
            verb = "will be skipped then:" if self.due_at is not None and self.due_at > self.now else "is"
            advice = "Resume it, or wait for the end of the pause."
            wide = f" {_PAUSES}" if then.pause_id is not None else ""
            return Finding(False, f"It {verb} {then.told}.", f"{advice}{wide}")
        return Finding(True, f"It was not paused then.{now}" if now else "It is not paused.")

    def _beat(self) -> Finding:
        if self.made is not None:
            return Finding(True, "Beat was running and created the run.")
        beats = in_force.present_beats(self.now)
        if not beats:
            last = db.session.scalars(sa.select(Beat).order_by(Beat.seen_at.desc()).limit(1)).first()
            seen = f" Last seen {formats.ago(last.seen_at, self.now)} on {last.host}." if last else ""
            return Finding(False, f"Beat is not running.{seen}", f"Start it: {installed.command('beat')}")
        leader = beats[0]
        if not leader.leading:
            return Finding(False, "Beat runs without a leader.", "Wait five seconds, then check its logs.")
        if in_force.judge(self.schedule, beats, self.now).host is None:
            return Finding(False, f"Beat on {leader.host} has not loaded the last edit yet.", "Check its log.")
        if self._had_no_leader(beats):
            return Finding(
                False,
                f"It was due before beat was running: beat on {leader.host} was started "
                f"{formats.ago(leader.started_at, self.now)}.",
                "Run two beat instances: when one stops, the other takes over within five seconds.",
            )
        return Finding(True, f"Beat on {leader.host} is the leader and has loaded the last edit.")

    def _had_no_leader(self, beats: Sequence[Beat]) -> bool:
        """Whether it was missed before the beats that are online now were started."""
        missed = self.run is not None and self.run.state == RunState.MISSED
        return missed and self.due_at is not None and all(beat.started_at > self.due_at for beat in beats)

    def _occurrence(self) -> Finding:
        run = self.run
        if self.due_at is None:
            return Finding(None, "It has not been due since beat loaded it.")
        local = f"{self.due_at.astimezone(zone(self.schedule.timezone)):%Y-%m-%d %H:%M:%S} {self.schedule.timezone}"
        if run is None:
            return self._unaccounted(self.due_at, local)
        if run.state in NEVER_MADE:
            return Finding(False, f"{local} was {run.state}: {run.reason or 'no reason was recorded'}.", _POLICIES)
        return Finding(True, f"The run of {local} was created {formats.ago(run.created_at, self.now)}.")

    def _unaccounted(self, due_at: datetime, local: str) -> Finding:
        changed = self.schedule.row.changed_at
        if due_at > self.now:
            return Finding(None, f"{local} is in the future.")
        if changed is not None and due_at < changed:
            return Finding(False, f"{local} was before the last edit, and there is no run.", "See its versions.")
        if due_at not in [due.utc for due in self.schedule.due_times(due_at - timedelta(microseconds=1), 1)]:
            return Finding(False, f"The schedule is not due at {local}.", "Its page shows the next runs.")
        return Finding(False, f"Beat has not processed {local} yet.", "Check whether beat is running.")

    def _broker(self) -> Finding:
        run = self.made
        if self.begun is not None:
            return Finding(True, "The message was delivered to a worker.")
        try:
            broker.ping()
        except broker.BrokerAway as error:
            return Finding(False, f"The broker does not answer: {error}", "Start it; beat sends the waiting runs.")
        if run is None or run.ended:
            return Finding(True, "The broker answers.")
        if run.state == RunState.HELD:
            until = f", until {run.eta:%Y-%m-%d %H:%M:%S} UTC" if run.eta else ""
            return Finding(None, f"The broker answers. The run is held{until}; no message was sent yet.")
        if run.sent_at is None and self.now - run.created_at > UNSENT_TIMEOUT:
            why, advice = "the message was not sent", "Start beat; it sends the message."
            if (run.reason or "").startswith(NOT_SENT):
                why = str(run.reason).removeprefix(NOT_SENT)
                advice = "Start the worker that declares the queue, or correct its name."
            return Finding(False, f"The broker answers, but {why}.", advice)
        sent = f"The message was sent {formats.ago(run.sent_at, self.now)}." if run.sent_at else "It was not sent yet."
        return Finding(True, f"The broker answers. {sent}")

    def _queue(self) -> Finding:
        if self.begun is not None:
            return Finding(True, f"{self.begun.worker or 'A worker'} received it from “{self.queue}”.")
        if not self.queues:
            return self._no_queue()
        if self.others:
            return self._foreign_queue()
        if not self.consumers:
            return Finding(
                False,
                f"No online worker consumes the queue “{self.queue}”.",
                f"Start one: {installed.command('worker')} -Q {','.join(self.queues)}",
            )
        names = ", ".join(line.worker.name for line in self.consumers[:MAX_NAMED])
        busy, slots = sum(line.busy for line in self.consumers), sum(line.worker.concurrency for line in self.consumers)
        return Finding(True, f"“{self.queue}” is consumed by {names}: {busy} of {formats.plural(slots, 'slot')} busy.")

    def _no_queue(self) -> Finding:
        if self.queues is None:
            return Finding(None, f"Only the broker knows which queue is bound to the {self.aim.place}.")
        advice = "Start the worker that binds its queue, or remove the exchange and the routing key in the editor."
        return Finding(False, f"No queue is bound to the {self.aim.place}.", advice)

    def _foreign_queue(self) -> Finding:
        """The queue has consumers that are not our workers; adds how many messages wait in it."""
        found = (
            f"“{self.queue}” is consumed by workers that do not report to Beatdesk ({self.others}). Runs are sent once."
        )
        if self.made is None or self.made.state != RunState.QUEUED:
            return Finding(True, found)
        try:
            depth = sum(depth or 0 for depth in broker.queue_depths(self.queues or ()).values())
        except broker.BrokerAway:
            depth = 0
        if depth:
            found += f" {formats.plural(depth, 'message')} waiting."
        return Finding(None, found, "Wait for its workers, or check whether they are stuck.")

    def _task(self) -> Finding:
        task = self.schedule.row.task
        if self.begun is not None:
            return Finding(True, f"The worker had {task} registered.")
        if find_task(task) is None:
            remedy = "Start a worker of its project, or add its module to TASK_MODULES."
            return Finding(False, f"{task} is not registered.", remedy)
        knowing = [line for line in self.consumers if line.knows(task)]
        if self.consumers and not knowing:
            return Finding(
                False, f"No worker on this queue has registered {task}.", "Restart them with code that has it."
            )
        if len(knowing) < len(self.consumers):
            lacking = ", ".join(line.worker.name for line in self.consumers if line not in knowing)
            return Finding(False, f"{lacking} consumes this queue but has not registered {task}.", "Restart it.")
        if not self.consumers:
            rest = f"unknown whether {self.others} has registered it" if self.others else "no worker is online to check"
            return Finding(None, f"{task} is registered with the web server; {rest}.")
        return Finding(True, f"{task} is registered.")

    def _result(self) -> Finding:
        run = self.made
        if run is None:
            return Finding(None, self._instead())
        if run.state == RunState.SUCCEEDED:
            took = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else None
            return Finding(True, f"It succeeded{f' after {formats.duration(took)}' if took is not None else ''}.")
        if run.state == RunState.UNCONFIRMED:
            advice = "Check whether it ran. On its page, mark it as succeeded or send it again."
            return Finding(False, f"It is unconfirmed: {run.reason or 'no reason was recorded'}", advice)
        if run.state in _ENDS:
            why = run.error or run.reason or "no reason was recorded"
            return Finding(False, f"It {_ENDS[RunState(run.state)]}: {why}", "See the run.")
        if run.state == RunState.STARTED and run.claim_seen_at and self.now - run.claim_seen_at > CLAIM_TIMEOUT:
            seen = formats.ago(run.claim_seen_at, self.now)
            return Finding(False, f"It started, but its worker was last seen {seen}.", "Beat sends it again.")
        return Finding(None, f"It is {run.state}.")

    def _instead(self) -> str:
        run = self.by_hand
        if run is None:
            return "There is no run to check."
        queue = sending.queue_of_run(run)
        where = f" in “{queue}”" if queue and run.state == RunState.QUEUED else ""
        begun = formats.ago(run.created_at, self.now)
        none = "This due time has no run" if self.due_at else "It has not been due yet"
        return f"{none}. The run started manually {begun} is {run.state}{where}."


def _destination(schedule: Stored, run: Run | None) -> Destination:
    """The destination of the run's message, which may be older than the last edit; without a run, the schedule's."""
    row = schedule.row
    if run is None or run.state in NEVER_MADE:
        return sending.destination_of(row.task, row.queue, row.exchange, row.routing_key)
    return sending.destination_of_run(run)


def _queues_of(aim: Destination) -> list[str] | None:
    try:
        return sending.led_to(aim)
    except broker.BrokerAway:
        return None


def _unended_by_hand(schedule: Stored) -> Run | None:
    mine = (Run.schedule_id == schedule.id, Run.due_at.is_(None), Run.state.in_(sorted(UNENDED)))
    return db.session.scalars(sa.select(Run).where(*mine).order_by(Run.created_at.desc()).limit(1)).first()


def _default_due_time(schedule: Stored, now: datetime) -> datetime | None:
    """The due time to examine by default."""
    last: datetime | None = schedule.row.last_due_at
    since = max((moment for moment in (last, schedule.row.changed_at) if moment is not None), default=None)
    following = [] if since is None else schedule.due_times(since, 1)
    if following and following[0].utc < now - PROCESSING_TIME:
        return following[0].utc
    return last


def _run_of(schedule: Stored, due_at: datetime | None) -> Run | None:
    if due_at is None:
        return None
    return db.session.scalars(sa.select(Run).where(Run.schedule_id == schedule.id, Run.due_at == due_at)).first()


def parse_due_time(text: str, schedule: Stored) -> datetime | None:
    """The due time in a query string; None if it is empty or invalid."""
    if is_empty(text):
        return None
    try:
        return fields.moment(text.replace(" ", "+"), zone(schedule.timezone))
    except fields.FieldError:
        return None
