"""Has every kind of worker execute empty tasks, in many rounds, and prints the cost of a task.

1. Start all workers; each executes some tasks for warming up.
2. In each round each kind executes the same few tasks, which all wait before the first begins.
3. After some rounds begin again with other workers, several times: of two processes that do the same one may be quicker
   for as long as it lives, by where its memory happens to lie.
4. For each kind the median of all rounds: CPU of the worker's processes, and time from the first to the last.
5. The cost that a kind adds is the median of its differences in each round, and of its ratios: a machine that is
   slower for some seconds is slower for both kinds. Ours is compared with Celery with our settings, the others with
   Celery alone.

The CPU time of a recorder, a database server or Redis is not included; the worker's waits for them are in the time.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.beats import table
from bench.beats.servers import Storage
from bench.beats.targets import TARGETS, build
from bench.workers.kinds import ENVIRONMENT, KINDS, PLAIN, RECORD_ALONE, SETTINGS, Cost, Kind, worker
from tests.servers import Databases, postgres

TITLE = "a task in the worker"
# Milliseconds of CPU that the record may add to a task. The claim comes on top: that is delivery.
BAR = 0.3
WARM_UP = 50

# The cost in each round, by kind.
Costs = Mapping[str, Sequence[Cost]]


def measure(tasks: int, rounds: int, workers: int) -> str:
    """Measure with a PostgreSQL of its own; gives the table. Raises SetupError, TrialError."""
    build(tuple(target for target in TARGETS if target.environment == ENVIRONMENT))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bd-bench-")))
        url = stack.enter_context(postgres())
        storage = Storage(Databases(folder, lambda: url))
        begin = time.monotonic()
        _say(f"{TITLE}: {tasks:,} tasks, {rounds} rounds, {workers} times")
        found: dict[str, list[Cost]] = {kind.key: [] for kind in KINDS}
        for number in range(workers):
            for key, costs in run(folder / str(number), storage, tasks, rounds).items():
                found[key] += costs
        _say(f"  in {time.monotonic() - begin:.0f} s")
        return report(found)


def run(folder: Path, storage: Storage, tasks: int, rounds: int) -> Costs:
    """The costs of one task, by kind, in workers that are started for it. Raises TrialError."""
    found: dict[str, list[Cost]] = {kind.key: [] for kind in KINDS}
    with ExitStack() as stack:
        workers = [stack.enter_context(worker(kind, folder, storage)) for kind in KINDS]
        for one in workers:
            one.execute(WARM_UP)
        for _ in range(rounds):
            for one in workers:
                found[one.kind.key].append(one.execute(tasks))
    return found


def _median(costs: Sequence[Cost], base: Sequence[Cost] | None = None) -> Cost:
    """The median of the rounds, or of their differences to the same rounds of another kind."""
    less = base or [Cost(0.0, 0.0)] * len(costs)
    both = list(zip(costs, less, strict=True))
    return Cost(statistics.median(a.cpu - b.cpu for a, b in both), statistics.median(a.wall - b.wall for a, b in both))


def report(costs: Costs) -> str:
    """A table: each kind's cost of a task, and what it adds to the kind that it is compared with."""
    lines = [("a task in the worker, ms", "CPU", "added", "ratio", "time", "added", "bar", "reached")]
    for kind in KINDS:
        cost, base = _median(costs[kind.key]), costs[_compared_with(kind).key]
        added = _median(costs[kind.key], base)
        bar = (f"{BAR}", "yes" if added.cpu <= BAR else "NO") if kind is RECORD_ALONE else ("", "")
        ratio = statistics.median(one.cpu / other.cpu for one, other in zip(costs[kind.key], base, strict=True))
        more = ("", "", "") if kind is PLAIN else (f"{added.cpu:+.2f}", f"×{ratio:.2f}", f"{added.wall:+.2f}")
        lines.append((kind.title, f"{cost.cpu:.2f}", *more[:2], f"{cost.wall:.2f}", more[2], *bar))
    return table.text(lines)


def _compared_with(kind: Kind) -> Kind:
    return SETTINGS if kind.ours else PLAIN


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
