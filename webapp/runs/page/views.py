"""`/runs/ID/values/…`: one value of a run in full, and as JSON; `/runs/ID/family`: what belongs to it."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from webapp.run_store.models import Run
from webapp.runs import service
from webapp.runs.call import summary
from webapp.runs.page import relatives, values
from webapp.task_catalogue.registry import find_task
from webapp.web import responses
from webapp.web.access import Permission, access
from webapp.web.errors import NotFound
from webapp.web.rendering import render, render_polled, see_other, wants_fragment

blueprint = Blueprint("run_parts", __name__)

# The values of a run that are shown as trees, with their names.
PARTS = {"args": "Positional arguments", "kwargs": "Keyword arguments", "result": "Result"}


@blueprint.get("/runs/<run_id>/values/<part>")
@access(Permission.VIEW_RUNS)
def show(run_id: str, part: str) -> Response:
    """As much of a value as a page can show."""
    run, text = _value(run_id, part)
    tree = values.tree(text, values.ALL, _names(run, part))
    return render(
        "runs/page/value.html", "runs/page/_value.html", run=run, tree=tree, part=part, title=PARTS[part], full=True
    )


@blueprint.get("/runs/<run_id>/values/<part>.json")
@access(Permission.VIEW_RUNS)
def as_json(run_id: str, part: str) -> Response:
    """The whole value."""
    run, text = _value(run_id, part)
    return responses.Response(values.as_json(text, _names(run, part)), mimetype="application/json")


@blueprint.get("/runs/<run_id>/family")
@access(Permission.VIEW_RUNS)
def family(run_id: str) -> Response:
    """What a run called and what called it, drawn anew; without htmx its page shows the same."""
    run = service.get_run(run_id)
    if not wants_fragment():
        return see_other(url_for("runs.show", run_id=run.id, _anchor="family"))
    return render_polled("runs/page/_family.html", run=run, family=relatives.family_of(run))


def _names(run: Run, part: str) -> list[str]:
    return summary.names_by_position(find_task(run.task)) if part == "args" else []


def _value(run_id: str, part: str) -> tuple[Run, str]:
    """Raises NotFound for a part that no run has, or that this one has not."""
    run = service.get_run(run_id)
    text = getattr(run, part) if part in PARTS else None
    if text is None:
        raise NotFound("This run has no such value.")
    return run, text
