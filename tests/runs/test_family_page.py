"""The family on the page of a run: how much of it, and how long the page follows it."""

from __future__ import annotations

import json

from tests.runs.making import make_run
from tests.runs.test_family import signature
from tests.visitors import Visitor
from webapp.run_store.states import Origin, RunState


def make_group(count: int, root_id: str, **values: str) -> list[str]:
    """That many members of one chord, called by a run."""
    kin = {"task": "orders.price", "parent_id": root_id, "root_id": root_id, "origin": Origin.TASK, "group_id": "g"}
    joins = json.dumps({"chord": signature("total")})
    row = {**kin, "options": joins, **values}
    return [make_run(age=count - index, group_index=index, **row) for index in range(count)]  # type: ignore[arg-type]


def test_run_by_itself_has_no_family(viewer: Visitor) -> None:
    run_id = make_run(RunState.STARTED)
    assert 'id="family"' not in viewer.get(f"/runs/{run_id}").text
    assert viewer.get(f"/runs/{run_id}/family", htmx=True).text.strip() == ""


def test_of_a_large_family_the_nearest_are_drawn(viewer: Visitor) -> None:
    root_id = make_run(task="orders.many")
    ids = make_group(90, root_id)
    make_run(id="total", task="orders.total", parent_id=ids[-1], root_id=root_id, group_id="g")
    for run_id in (root_id, ids[80]):
        text = viewer.get(f"/runs/{run_id}").text
        assert "chord of 90" in text
        assert f'href="/runs/{root_id}"' in text
        assert 'href="/runs/total"' in text
        assert 'class="family-box family-success family-current"' in text
        assert "41 more in the list" in text
    assert f'href="/runs/{ids[79]}"' in text
    listed = viewer.get(f"/runs?q=root:{root_id}").text
    assert listed.count("<tr id=") == 50
    assert f'href="/runs/{ids[80]}"' in listed


def test_ended_run_follows_those_who_go_on(viewer: Visitor) -> None:
    root_id = make_run(task="orders.many")
    ids = make_group(2, root_id)
    path = f"/runs/{root_id}/family"
    # The chord's body is still to come.
    assert f'hx-get="{path}" hx-trigger="every' in " ".join(viewer.get(f"/runs/{root_id}").text.split())
    part = viewer.get(path, htmx=True)
    assert "<html" not in part.text
    assert "upcoming" in part.text
    assert viewer.get(path, htmx=True, headers={"HX-PTag": part.headers["HX-PTag"]}).status_code == 304
    make_run(id="total", task="orders.total", parent_id=ids[-1], root_id=root_id, group_id="g")
    text = viewer.get(path, htmx=True).text
    assert "upcoming" not in text
    assert "hx-trigger" not in text
    assert viewer.get(path).status_code == 303


def test_workflow_of_another_programs_message_is_drawn_as_text(viewer: Visitor) -> None:
    root_id = make_run(task="<b>root</b>")
    make_run(task="<script>", parent_id=root_id, root_id=root_id, options='{"chain": [{"options": {}, "task": "<i>"}]}')
    text = viewer.get(f"/runs/{root_id}").text
    for markup in ("<b>root", "<script>,", "<i>"):
        assert markup not in text
    assert "&lt;i&gt;" in text
