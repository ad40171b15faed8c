"""What comes due next: a heap of (moment, schedule, generation) over all entries.

A changed schedule gets a new place; its old one stays until it comes up and is then thrown away, because its generation
is not the entry's any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from webapp.schedule_store.entries import Entry

Place = tuple[float, int, int]


class Agenda:
    """All entries, by id, and the order in which they come due."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self._heap: list[Place] = []

    def __len__(self) -> int:
        return len(self.entries)

    def replace_all(self, entries: Iterable[Entry]) -> None:
        """Hold these entries and no others."""
        self.entries = {entry.id: entry for entry in entries}
        self.rebuild()

    def rebuild(self) -> None:
        """Order everything anew, after many next due times changed."""
        self._heap = [
            (entry.fires_at, entry.id, entry.generation)
            for entry in self.entries.values()
            if entry.next_due is not None
        ]
        heapify(self._heap)

    def put(self, entry: Entry, not_before: float = 0.0) -> None:
        """Hold this entry, in the place of the one with its id; it comes up when it fires, but not before a moment."""
        former = self.entries.get(entry.id)
        if former is not None and former is not entry:
            entry.generation = former.generation + 1
        self.entries[entry.id] = entry
        if entry.next_due is not None:
            heappush(self._heap, (max(entry.fires_at, not_before), entry.id, entry.generation))
        if len(self._heap) > 2 * len(self.entries) + 1000:
            self.rebuild()

    def remove(self, schedule_id: int) -> None:
        """Forget an entry."""
        self.entries.pop(schedule_id, None)

    def next_at(self) -> float | None:
        """When the next entry fires, in epoch seconds."""
        while self._heap:
            at, schedule_id, generation = self._heap[0]
            entry = self.entries.get(schedule_id)
            if entry is not None and entry.generation == generation:
                return at
            heappop(self._heap)
        return None

    def pop_due(self, now: float, most: int) -> list[Entry]:
        """Take the entries that are due, earliest first.

        Each must be `put` back, with its next due time or the same.
        """
        due: list[Entry] = []
        while self._heap and self._heap[0][0] <= now and len(due) < most:
            _, schedule_id, generation = heappop(self._heap)
            entry = self.entries.get(schedule_id)
            if entry is not None and entry.generation == generation:
                due.append(entry)
        return due
