"""Random modules are run, and read without running them: both agree, or the reading reports its doubt."""

from __future__ import annotations

from collections import defaultdict
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from webapp.schedules.sources.given import Given
from webapp.schedules.sources.python.beat_schedule import from_source
from webapp.web.errors import Invalid

pytestmark = pytest.mark.usefixtures("registered_tasks")

FIRST = "app.conf.beat_schedule = beat_schedule = {'z': {'task': 'add', 'schedule': 1}}"
SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}
SIMPLE = (
    "{dict}[{key}] = {entry}", "{dict}.update({made})", "{dict} |= {made}", "{dict}.pop({key}, None)",
    "L += [{number}]",
    "{dict}.setdefault({key}, {entry})", "beat_schedule = {made}", "app.conf.beat_schedule = {made}", "D = {made}",
    "app.conf.update(beat_schedule={made})", "N = {number} + {number}", "L = [{number}, N]", "L.append({number})",
    "fill({dict}, {number})", "for k in ({key}, {key}): {dict}[k] = {entry}",
)  # fmt: skip
MADE = (
    "{dict}", "dict({dict})", "{dict}.copy()", "({dict} | {dict})", "dict({dict}, a={entry})", "{{{key}: {entry}}}",
    "{{**{dict}, {key}: {entry}, {key}: {entry}}}", "{{{key}: {entry}, **{dict}}}",
)  # fmt: skip


class Parts(defaultdict[str, str]):
    """Parts of a module, each time another one."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    def __missing__(self, name: str) -> str:
        choose = self.random.choice
        match name:
            case "dict":
                return choose(("beat_schedule", "D"))
            case "key":
                return repr(choose("abcd"))
            case "number":
                return choose(("N", str(self.random.randint(2, 99))))
            case "entry":
                return f"{{'task': 'add', 'schedule': {self['number']}, 'args': {choose(('L', '[1, N]'))}}}"
        return choose(MADE).format_map(self)

    def block(self, indent: str = "") -> list[str]:
        """Some statements."""
        lines: list[str] = []
        for _ in range(self.random.randint(2, 5)):
            if len(indent) < 8 and self.random.random() < 0.25:
                lines += [f"{indent}if {self.random.choice(('True', 'False', 'ON', 'not ON'))}:"]
                lines += [*self.block(indent + "    "), f"{indent}else:", *self.block(indent + "    ")]
            else:
                lines.append(indent + self.random.choice(SIMPLE).format_map(self))
        return lines


def run(text: str, *, on: bool) -> list[dict[str, Any]]:
    """The schedules that the module has when it has run: its own, and its app's."""
    conf = SimpleNamespace()
    conf.update = conf.__dict__.update
    names: dict[str, Any] = {
        "app": SimpleNamespace(conf=conf),
        "ON": on,
        "fill": lambda given, n: given.update(f={"n": n}),
    }
    exec(text, names)  # the module was made above
    return [names["beat_schedule"], conf.beat_schedule]


def found_in(text: str) -> dict[str, Given]:
    try:
        return {one.name: one for one in from_source(text)}
    except Invalid:
        return {}  # nothing is left in it


def same(read: Given, ran: dict[str, Any]) -> bool:
    seconds = read.fields["every"] * SECONDS[read.fields["period"]]
    return (seconds, read.fields["args"]) == (ran["schedule"], ran.get("args", []))


@pytest.mark.parametrize("seed", range(2))
def test_what_is_read_is_what_runs_or_is_named(seed: int) -> None:
    compared = 0
    for number in range(250):
        text = "\n".join([FIRST, "D, N, L = {}, 7, [3]", *Parts(Random(250 * seed + number)).block()])
        read = found_in(text)
        if any(one.error and name.startswith("line ") for name, one in read.items()):
            continue  # something that may change the schedule is named
        for on in (True, False):
            schedules = run(text, on=on)
            for name in {name for one in schedules for name in one}:
                found, values = read[name], [one[name] for one in schedules if name in one]
                assert found.error or any(not found.skipped and same(found, ran) for ran in values), f"{name}\n{text}"
                compared += 1
            for name, one in read.items():
                there = one.error or one.skipped or any(name in schedule for schedule in schedules)
                assert there or any("only if" in note for note in one.notes), f"{name}\n{text}"
    assert compared > 300
