"""`python -m bench [--full] [--only SCHEDULER …] [--step WORDS …]`: measures beat, and a task, beside others.

When all schedulers are asked for, four steps come last: what a task costs (`a task in the worker`), how many state
changes a second are recorded (`the recorder`), how many task events of other projects' workers (`task events`), and how
soon a project's tasks are shown (`the first page`).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from bench import events, recording, start
from bench.beats.forms import full, quick
from bench.beats.run import report, run, save
from bench.beats.targets import TARGETS
from bench.workers import run as workers

# How many tasks each kind of worker executes in a round, how many rounds, and how many workers after each other.
QUICK_WORKERS, FULL_WORKERS = (150, 6, 4), (200, 12, 8)


def main() -> int:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every size; about 30 minutes instead of six")
    parser.add_argument("--only", nargs="+", default=[], choices=[target.key for target in TARGETS])
    parser.add_argument(
        "--step", nargs="+", default=[""], help="only the measurements with one of these in their title"
    )
    given = parser.parse_args()
    # An end from outside unwinds like Ctrl-C, so that every server and beat ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    load = os.getloadavg()
    steps = [step for step in (full() if given.full else quick()) if any(word in step.title for word in given.step)]
    if steps:
        results = run(steps, given.only)
        print(report(steps, results))
        print(f"\nNumbers kept in {save(results, load)}")
    if not given.only and any(word in workers.TITLE for word in given.step):
        print(f"\n{workers.measure(*(FULL_WORKERS if given.full else QUICK_WORKERS))}")
    for one in (recording.BENCH, events.BENCH):
        if not given.only and any(word in one.title for word in given.step):
            print(f"\n{one.measured()}")
    if not given.only and any(word in start.TITLE for word in given.step):
        print(f"\n{start.report(start.measure())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
