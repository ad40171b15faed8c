"""The driver, which runs in a scheduler's own environment: `python -m bench.beats.driver PEER fill|probe|edits`.

`fill` writes the schedules of the plan, with due times counted from BENCH_SECONDS ahead; `probe` runs the scheduler in
this process and prints its costs; `edits` carries out the edits that it reads line by line, and prints when each was
committed. All output is lines of JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.beats import plan

if TYPE_CHECKING:
    from bench.beats.peers.common import Peer


def main(arguments: list[str]) -> int:
    """Run one of the three commands."""
    name, command = arguments
    peer: Peer = import_module(f"bench.beats.peers.{name}").peer
    seconds = float(os.environ["BENCH_SECONDS"])
    if command == "fill":
        _say({"ready": fill(peer, plan.read(Path(os.environ["BENCH_PLAN"])), seconds)})
    elif command == "probe":
        _say(probe(peer, seconds))
    else:
        carry_out_edits(peer)
    return 0


def fill(peer: Peer, groups: list[plan.Group], seconds: float) -> float:
    """Write the schedules, with due times counted from a moment `seconds` ahead; gives that moment."""
    ready = time.time() + seconds
    moved = [replace(group, first_due=group.first_due + ready) for group in groups]
    peer.fill(list(plan.every_item(moved)))
    return ready


def probe(peer: Peer, seconds: float) -> dict[str, Any]:
    """Start, tick and edit in this process. Each kind of measurement is repeated for at most `seconds`.

    Gives seconds (`start`, `tick`, `edit_cpu`), CPU seconds a second (`idle_cpu`), megabytes (`memory`, `peak`) and a
    number of statements.
    """
    begin = time.perf_counter()
    scheduler = peer.start()
    peer.first(scheduler)
    result: dict[str, Any] = {"start": time.perf_counter() - begin}
    result["memory"] = _kilobytes("VmRSS") / 1024
    peer.settle(scheduler)
    result |= _idle(peer, scheduler, seconds)
    try:
        result |= _edits(peer, scheduler, seconds)
    except NotImplementedError:
        result["edit_cpu"] = None
    return result | {"peak": _kilobytes("VmHWM") / 1024}


def _idle(peer: Peer, scheduler: Any, seconds: float) -> dict[str, float]:
    """Nothing is due: the median of up to 200 ticks in a row, and the CPU that a second of waiting and ticking takes.

    A tick in a row may be cheaper than one after a wait, where a scheduler looks for changes by the clock: hence both.
    """
    took: list[float] = []
    give_up = time.monotonic() + seconds
    while len(took) < 200 and (not took or time.monotonic() < give_up):
        begin = time.perf_counter()
        peer.step(scheduler)
        took.append(time.perf_counter() - begin)
    begin, cpu = time.monotonic(), time.process_time()
    while (left := begin + seconds - time.monotonic()) > 0:
        time.sleep(min(max(peer.step(scheduler), 0.0), left))
    return {"tick": statistics.median(took), "idle_cpu": (time.process_time() - cpu) / (time.monotonic() - begin)}


def _edits(peer: Peer, scheduler: Any, seconds: float) -> dict[str, Any]:
    """The cheapest of up to 20 edits: saving it, and ticking until it is in force.

    More than a few: a driver prepares a statement only after it was executed some times.
    """
    cpu: list[float] = []
    executed: list[int] = []
    give_up = time.monotonic() + seconds
    for number in range(20):
        if cpu and time.monotonic() > give_up:
            break
        name, every = f"edit-{number % 5}", plan.DAY // 2 + number
        before, statements = time.process_time(), peer.statements()
        peer.edit(name, every)
        _until_applied(peer, scheduler, name, every)
        cpu.append(time.process_time() - before)
        after = peer.statements()
        if statements is not None and after is not None:
            executed.append(after - statements)
    return {"edit_cpu": min(cpu), "edit_statements": min(executed, default=None), "edits": len(cpu)}


def _until_applied(peer: Peer, scheduler: Any, name: str, every: float) -> None:
    give_up = time.monotonic() + 180
    while not peer.applied(scheduler, name, every):
        if time.monotonic() > give_up:
            raise TimeoutError(f"the edit of {name} did not come into force")
        wait = peer.step(scheduler)
        if not peer.applied(scheduler, name, every):
            time.sleep(min(wait, 0.05))


def carry_out_edits(peer: Peer) -> None:
    """Carry out each edit that comes in as a line `NAME EVERY`; answer with the time of its commit."""
    _say({"ready": True})
    for line in sys.stdin:
        name, every = line.split()
        peer.edit(name, float(every))
        _say({"at": time.time()})


def _kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)


def _say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
