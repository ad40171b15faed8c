"""Runs the steps of a form, prints the result of each, and the table at the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import psycopg
import redis
import sqlalchemy as sa

from bench.beats import table
from bench.beats.forms import Step
from bench.beats.measures import Measure, Value
from bench.beats.processes import TrialError
from bench.beats.servers import Storage
from bench.beats.targets import BENCH, TARGETS, Target, build
from bench.beats.trial import Bench, NotReady
from tests.servers import Databases, postgres

Results = dict[str, dict[str, Value]]
# How many times longer than planned a scheduler may take to start, before it is given up.
PATIENCE = (1.0, 3.0)
# Errors of one scheduler, after which the others are still measured.
FAILURES = (TrialError, AssertionError, OSError, redis.RedisError, psycopg.Error, sa.exc.SQLAlchemyError)


def run(steps: Sequence[Step], only: Sequence[str] = ()) -> Results:
    """Carry out the steps, for all schedulers or only for some; gives the results by scheduler and measure."""
    chosen = tuple(target for target in TARGETS if not only or target.key in only)
    build(chosen)
    results: Results = {target.key: {} for target in chosen}
    begin = time.monotonic()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bd-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url = stack.enter_context(postgres())
        bench = Bench(folder, Storage(Databases(folder, lambda: url)))
        for group in _together(steps):
            _carry_out(group, bench, chosen, results)
    _say(f"{time.monotonic() - begin:.0f} s in all.\n")
    return results


def _together(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Neighbours that may be measured at the same time as each other."""
    for together, neighbours in groupby(steps, key=lambda step: step.together):
        group = list(neighbours)
        yield from ([group] if together > 1 else ([step] for step in group))


def _carry_out(steps: Sequence[Step], bench: Bench, chosen: Sequence[Target], results: Results) -> None:
    for step in steps:
        _say(f"{step.title} (load {os.getloadavg()[0]:.1f})")
    begin = time.monotonic()
    jobs = [(step, target) for step in steps for target in step.targets if target in chosen]
    with ThreadPoolExecutor(steps[0].together) as pool:
        found = pool.map(lambda job: _measure(job[0], bench, job[1]), jobs)
        for (step, target), values in zip(jobs, found, strict=True):
            results[target.key] |= values
            _say(f"  {target.title}: {_summary(step.measures, values)}")
    _say(f"  in {time.monotonic() - begin:.0f} s")


def _measure(step: Step, bench: Bench, target: Target) -> dict[str, Value]:
    failure = "not measured"
    # Where several start at a time, each takes longer.
    crowd = 1.0 if step.together == 1 else 2.0 if step.together <= 4 else 4.0
    for slack in PATIENCE:
        try:
            return step.measure(replace(bench, slack=slack * crowd), target)
        except NotReady as error:
            failure = str(error)
        except FAILURES as error:
            failure = str(error).splitlines()[0]
            break
    return {measure.key: Value(None, failure) for measure in step.measures}


def _summary(measures: Sequence[Measure], values: dict[str, Value]) -> str:
    parts = [table.cell(measure, values.get(measure.key)) for measure in measures]
    return ", ".join(dict.fromkeys(part for part in parts if part))


def report(steps: Sequence[Step], results: Results) -> str:
    """The table as text."""
    measures = list(dict.fromkeys(measure for step in steps for measure in step.measures))
    targets = [target for target in TARGETS if target.key in results]
    return table.text(table.rows(measures, targets, results))


def save(results: Results, load: tuple[float, float, float]) -> Path:
    """Write the numbers to `bench/results/` as JSON; gives the file."""
    folder = BENCH / "results"
    folder.mkdir(exist_ok=True)
    at = datetime.now(UTC)
    path = folder / f"beats-{at:%Y%m%d-%H%M%S}.json"
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_at_start": load}
    values = {key: {name: asdict(value) for name, value in of_one.items()} for key, of_one in results.items()}
    path.write_text(json.dumps({"at": at.isoformat(), **machine, "results": values}, indent=1) + "\n")
    return path


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
