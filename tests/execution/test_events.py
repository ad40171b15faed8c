"""Progress and log lines of tasks, and the runs that they launch, on a real worker."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.runs.test_family import outline
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import db
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.runs.page import relatives
from webapp.runs.page.family import Branch, Group

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"


@pytest.fixture
def worker(context: Flask, settings: Settings) -> Iterator[None]:
    import_module(SAMPLES)
    with (
        processes.recorder(settings),
        processes.worker(settings, "--concurrency", "2", TASK_MODULES=SAMPLES),
    ):
        yield


def family_of(run_id: str) -> list[Run]:
    with reading():
        return list(db.session.scalars(sa.select(Run).where(Run.root_id == run_id)))


def drawn(run_id: str) -> str:
    """The family of a run as `outline` writes it, with names of tasks instead of IDs."""
    run = fresh(Run, run_id)
    with reading():
        family = relatives.family_of(run)
        assert family is not None
        return named(family.branches)


def named(branches: list[Branch]) -> str:
    names: dict[str, str] = {}

    def note(branch: Branch) -> None:
        below = [*branch.members, *([branch.body] if branch.body else [])] if isinstance(branch, Group) else []
        if not isinstance(branch, Group):
            names[branch.member.id] = branch.member.task.removeprefix("samples.")
            below = [*branch.calls, *branch.then]
        for each in below:
            note(each)

    for branch in branches:
        note(branch)
    text = outline(branches)
    for run_id, name in names.items():
        text = text.replace(run_id, name)
    return text


def check_progress(viewer: Visitor, go: Path) -> None:
    """A task that reports progress and writes log lines."""
    run = control.launch("samples.steps", [4, str(go)])

    def page() -> str:
        return viewer.get(f"/runs/{run.id}").text

    wait_for(lambda: "nearly" in page(), seconds=20)
    shown = page()
    for part in ('value="75.0"', "3 of 4", " left<", "&lt;b&gt;begun", "waiting for go"):
        assert part in shown, part
    go.touch()
    wait_for(lambda: fresh(Run, run.id).state == RunState.SUCCEEDED, seconds=20)
    assert fresh(Run, run.id).progress_done == 4
    with reading():
        levels = list(db.session.scalars(sa.select(RunLine.level).where(RunLine.run_id == run.id).order_by(RunLine.id)))
    assert levels == ["warning", "info"]


def check_canvas(viewer: Visitor) -> None:
    """A call, a chain, a group and a chord of chains, launched by one task."""
    run = control.launch("samples.canvas")

    def done() -> bool:
        rows = family_of(run.id)
        return len(rows) == 12 and all(row.state == RunState.SUCCEEDED for row in rows)

    wait_for(done, seconds=30)
    rows = family_of(run.id)
    assert {row.origin for row in rows} == {Origin.TASK}
    assert all(row.sent_at and row.created_at <= row.started_at for row in rows if row.started_at)
    assert sorted(row.result or "" for row in rows if row.task == "samples.double") == ["10", "12", "4", "44", "8"]
    assert drawn(run.id) == (
        "canvas(give give > double > double group[give give] chord[give > double give > double] > total > double)"
    )
    page = viewer.get(f"/runs/{run.id}").text
    assert page.count('class="family-box family-success') == 13
    assert "chord of 2" in page


def check_replaced(numbers: list[int], state: RunState) -> Run:
    """Task.replace: what replaces it has its id, and is neither a duplicate nor lost."""
    run = control.launch("samples.replaced", numbers)
    wait_for(lambda: fresh(Run, run.id).state == state, seconds=20)
    assert drawn(run.id) == "replaced(chord[give give])"
    return fresh(Run, run.id)


def test_reports_and_launches_of_tasks_are_stored_and_shown(context: Flask, worker: None, tmp_path: Path) -> None:
    viewer = Visitor(context, "viewer")
    check_progress(viewer, tmp_path / "go")
    check_canvas(viewer)
    assert check_replaced([7, 8], RunState.SUCCEEDED).result == "15"
    assert "ValueError: below zero" in (check_replaced([9, -1], RunState.FAILED).error or "")
