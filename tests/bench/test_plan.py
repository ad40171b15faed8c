"""The schedules of a trial, and the lock files of the schedulers that are compared."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.beats import plan
from bench.beats.forms import full, quick
from bench.beats.targets import BENCH, PEERS, TARGETS


def test_each_schedule_knows_when_it_is_due_and_when_it_must_have_run_last() -> None:
    group = plan.Group("steady", 3, 1_800_000_000.0, step=0.5, every=60)
    assert [(item.name, item.due, item.every) for item in group.items()] == [
        ("steady-0", 1_800_000_000.0, 60),
        ("steady-1", 1_800_000_000.5, 60),
        ("steady-2", 1_800_000_001.0, 60),
    ]
    assert [group.due(item.name) for item in group.items()] == [item.due for item in group.items()]
    assert next(group.items()).last_run == datetime.fromtimestamp(1_800_000_000 - 60, UTC)


def test_idle_schedules_have_800_intervals_and_are_not_due_for_a_day() -> None:
    items = list(plan.idle(2000, 0.0).items())
    assert len({item.every for item in items}) == 800
    assert min(item.due for item in items) == plan.DAY


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    groups = [plan.pulse(5.0, 10), plan.idle(7, 5.0)]
    plan.write(tmp_path / "plan.json", groups)
    assert plan.read(tmp_path / "plan.json") == groups
    assert sum(1 for _ in plan.every_item(groups)) == 17


@pytest.mark.parametrize("form", [quick, full])
def test_every_form_measures_ours_beside_every_peer(form: object) -> None:
    steps = quick() if form is quick else full()
    for title in {step.title for step in steps}:
        measured = {target for step in steps if step.title == title for target in step.targets}
        left_out = {target for target in TARGETS if target not in measured}
        # What takes the others seconds with 100 schedules need not be waited for with 100,000.
        assert left_out == (set(PEERS) if title == "edit to effect with 100,000" else set()), title


@pytest.mark.parametrize("name", sorted({target.environment for target in PEERS if target.environment}))
def test_a_peers_lock_has_pins_and_hashes_and_no_address(name: str) -> None:
    text = (BENCH / f"requirements-{name}.lock").read_text()
    assert not re.search(r"://|^\s*-(?!-hash=)", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 10
    assert all(re.match(r"[a-z0-9._-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert "celery==5.7.0 " in text
