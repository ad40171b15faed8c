"""The workers that send task events: which of them belong to other projects, and how many of their events are missing.

A worker's heartbeat says how many runs it has started. If fewer starts were received at two heartbeats in a row, the
difference is a gap: one start may be on its way while the heartbeat is sent. An end whose start was not received counts
as one, because its run is known: with the pool `threads`, Celery drops some starts of short runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from beatdesk.encoding import NAME_LENGTH, shortened
from beatdesk.execution.events import MAX_INTEGER
from webapp.liveness import FORGOTTEN_AFTER
from webapp.recorder.task_events import TaskEvent
from webapp.run_store.observed_workers import Gap, Seen

MAX_BEGUN = 10_000
# A main process: its node name, and its number where the event has it, else 0.
Node = tuple[str, int]


@dataclass(slots=True)
class _State:
    """What is known of a node. `counted` is its own number of starts when `received` was zero.

    `begun` has the task IDs that started and have not ended.
    """

    first_seen_at: datetime
    seen_at: datetime
    software: str = ""
    active: int | None = None
    stopped_at: datetime | None = None
    counted: int | None = None
    received: int = 0
    missing: int = 0
    complete_at: datetime | None = None
    begun: dict[str, bool] = field(default_factory=dict)


class ObservedNodes:
    """The nodes of other projects. `read_own` gives those of our own workers, which report by themselves.

    `gaps` are those that were found since they were taken.
    """

    def __init__(self, read_own: Callable[[], Collection[Node]]) -> None:
        self._read_own = read_own
        self._own: Collection[Node] = ()
        self._states: dict[Node, _State] = {}
        self.gaps: list[Gap] = []

    def names(self, since: datetime | None = None) -> list[str]:
        """The node names; with `since`, of those that were first seen after it."""
        found = {name for (name, _), state in self._states.items() if since is None or state.first_seen_at > since}
        return sorted(found)

    def note(self, event: TaskEvent, at: datetime) -> bool:
        """Note what an event says of its worker; returns whether that is another project's."""
        name, pid = event.get("hostname"), event.get("pid")
        if not isinstance(name, str) or not name or event.get("type") == "task-sent":
            # Clients send `task-sent`; their name is not a worker's.
            return False
        node = shortened(name, NAME_LENGTH), pid if isinstance(pid, int) and 0 <= pid <= MAX_INTEGER else 0
        state = self._states.get(node)
        if state is None:
            if node not in self._own:
                self.forget_own()
            if node in self._own:
                return False
            state = self._states[node] = _State(at, at)
        state.seen_at = at
        match event.get("type"):
            case "task-started":
                state.received += 1
                state.begun[str(event.get("uuid"))] = True
                while len(state.begun) > MAX_BEGUN:
                    state.begun.pop(next(iter(state.begun)))
            case "task-succeeded" | "task-failed" | "task-retried":
                state.received += not state.begun.pop(str(event.get("uuid")), False)
            case "worker-heartbeat" | "worker-online":
                state.stopped_at = None
                self._compare(node[0], state, event, at)
            case "worker-offline":
                state.stopped_at = at
        return True

    def _compare(self, name: str, state: _State, event: TaskEvent, at: datetime) -> None:
        software = (event.get("sw_ident"), event.get("sw_ver"))
        state.software = shortened(" ".join(str(part) for part in software if part), NAME_LENGTH)
        active, processed = event.get("active"), event.get("processed")
        state.active = active if isinstance(active, int) and 0 <= active <= MAX_INTEGER else None
        if not isinstance(processed, int):
            return
        missing = 0 if state.counted is None else processed - state.counted - state.received
        if lost := max(min(missing, state.missing), 0):
            self.gaps.append((name, state.complete_at or at, at, lost))
        state.missing = max(missing - lost, 0)
        if not state.missing:
            # From here on, so that what was received twice makes up for nothing that is lost later.
            state.counted, state.received, state.complete_at = processed, 0, at
        else:
            state.counted = (state.counted or 0) + lost

    def forget_own(self) -> None:
        """Read which nodes are our own workers, and forget those."""
        self._own = self._read_own()
        for node in self._own:
            self._states.pop(node, None)

    def forget_all(self) -> None:
        """Begin anew, after a time in which events were lost for all nodes."""
        self._states.clear()

    def seen(self, at: datetime) -> list[Seen]:
        """The rows of `observed_workers`; nodes without an event for a day are forgotten."""
        self._states = {node: state for node, state in self._states.items() if state.seen_at > at - FORGOTTEN_AFTER}
        return [
            (*node, state.software, state.active, state.first_seen_at, state.seen_at, state.stopped_at)
            for node, state in self._states.items()
            if state.software
        ]
