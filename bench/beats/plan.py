"""The schedules of a trial, as JSON in a file that every scheduler reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

TASK = "bench.noop"
# The queue of our own worker, so that ours is measured with guarded runs; for the peers any queue does.
QUEUE = "beatdesk"
DAY = 86_400


class Item(NamedTuple):
    """One interval schedule. Its next due time is `due` (epoch seconds), and then every `every` whole seconds.

    `name` is its task's only argument, by which a message is assigned to its schedule.
    """

    name: str
    due: float
    every: int
    queue: str

    @property
    def last_run(self) -> datetime:
        """When it must have run last, in UTC, so that it is due at `due`: what the other schedulers keep."""
        return datetime.fromtimestamp(self.due, UTC) - timedelta(seconds=self.every)


@dataclass(frozen=True, slots=True)
class Group:
    """Schedules alike: number i is `PREFIX-i`, due at `first_due + i * step`, every `every + i % spread` seconds."""

    prefix: str
    count: int
    first_due: float
    step: float = 0.0
    every: int = DAY
    spread: int = 1
    queue: str = QUEUE

    def items(self) -> Iterator[Item]:
        """Each schedule of the group."""
        for number in range(self.count):
            yield Item(
                f"{self.prefix}-{number}",
                self.first_due + number * self.step,
                self.every + number % self.spread,
                self.queue,
            )

    def due(self, name: str) -> float:
        """When the schedule of that name is due first."""
        return self.first_due + int(name.rpartition("-")[2]) * self.step


def idle(count: int, now: float) -> Group:
    """Schedules that are not due while anything is measured, on 800 different intervals, as an admin's would be."""
    return Group("idle", count, now + DAY, every=DAY, spread=800, queue="idle")


def pulse(now: float, count: int = 1) -> Group:
    """Schedules that are due each second, spread over it: their messages show that a beat is running."""
    return Group("pulse", count, now - 3600, step=1 / count, every=1, queue="pulse")


def write(path: Path, groups: list[Group]) -> None:
    """Write the groups to a file, for `read` in another process."""
    path.write_text(json.dumps([asdict(group) for group in groups]))


def read(path: Path) -> list[Group]:
    """The groups that `write` wrote."""
    return [Group(**values) for values in json.loads(path.read_text())]


def every_item(groups: list[Group]) -> Iterator[Item]:
    """Each schedule of all groups."""
    for group in groups:
        yield from group.items()
