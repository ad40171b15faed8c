"""The costs of a beat: start, idle tick, memory, one edit; and the delay until an edit has effect."""

from __future__ import annotations

import random
import statistics
import time

from bench.beats import measures
from bench.beats.measures import Value
from bench.beats.plan import DAY, Group, idle, pulse
from bench.beats.processes import Editor
from bench.beats.targets import Target
from bench.beats.trial import Bench, trial
from bench.beats.watch import Watch

HOUR = 3600


def process(bench: Bench, target: Target, size: int, seconds: float, at_most: float) -> dict[str, Value]:
    """The driver's probe with `size` schedules of which none is due."""

    def groups(ready: float) -> list[Group]:
        return [idle(size - 5, ready), Group("edit", 5, ready + DAY, queue="idle")]

    with trial(bench, target, groups) as made:
        found = made.probe(seconds, at_most)
    start, tick, idle_cpu, memory, edit, statements = (measure.key for measure in measures.process(size))
    cpu, executed = found["edit_cpu"], found.get("edit_statements")
    return {
        start: Value(found["start"]),
        tick: Value(found["tick"] * 1000),
        idle_cpu: Value(found["idle_cpu"] * 1000),
        memory: Value(found["memory"], f"at most {found['peak']:.0f} MB"),
        edit: Value(None, "no live edit") if cpu is None else Value(cpu * 1000),
        statements: Value(None, "no SQL" if cpu is not None else "no live edit")
        if executed is None
        else Value(executed),
    }


def effect(bench: Bench, target: Target, size: int, count: int, seconds: float) -> dict[str, Value]:
    """Up to `count` edits within `seconds`, one after the other: from each commit to the first message it causes.

    The schedule's interval is changed from a day to an hour, two hours after its last run: the others fire it as soon
    as they know. Ours never fires because of an edit, so its interval becomes 10 ms, which fires within 10 ms of its
    being in force; then it becomes a day again.
    """
    keys = [measure.key for measure in measures.effect(size)]
    if not target.live:
        return dict.fromkeys(keys, Value(None, "no live edit"))

    def groups(ready: float) -> list[Group]:
        edited = Group("edit", count, ready - 2 * HOUR + DAY, queue="edits")
        # The others look for edits when they wake up for a due schedule: no other schedule may shorten their wait.
        sign = pulse(ready) if target.ours else Group("sign", 1, ready - 60, queue="pulse")
        return [sign, idle(size - count - 1, ready), edited]

    took: list[float] = []
    with trial(bench, target, groups) as made, made.editor() as editor, made.watch("edits") as watch:
        made.start()
        made.wait_for_pulse(made.ready + 60)
        give_up = time.time() + seconds
        chance = random.Random(count)
        while len(took) < count and time.time() < give_up:
            time.sleep(chance.uniform(0.1, 0.6))
            took.append(_one(editor, watch, f"edit-{len(took)}", target, give_up + 60))
    note = f"{len(took)} edits"
    return {keys[0]: Value(statistics.median(took) * 1000, note), keys[1]: Value(max(took) * 1000, note)}


def _one(editor: Editor, watch: Watch, name: str, target: Target, until: float) -> float:
    before = watch.length
    committed = editor.edit(name, 0.01 if target.ours else HOUR)
    watch.require(before + 1, until)
    arrived = watch.at(before + 1)
    if target.ours:
        editor.edit(name, DAY)
        watch.wait_for_silence()
    return arrived - committed
