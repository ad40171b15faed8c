"""`flask runs`, `flask recorder` and `flask observer`."""

from __future__ import annotations

import json
from typing import Any

import click
import sqlalchemy as sa
from flask import current_app
from flask.cli import AppGroup

from beatdesk.encoding import decode_json, one_line, without_controls
from webapp.extensions import celery, db
from webapp.recorder import event_reader
from webapp.recorder import recorder as recording_process
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control, service
from webapp.runs.serializer import as_dict
from webapp.task_catalogue.registry import call_note
from webapp.web.errors import DomainError

recorder = AppGroup("recorder", help="Record state changes of runs: from Redis into the database.")
observer = AppGroup("observer", help="Observe other projects' workers by Celery's task events.")
runs = AppGroup("runs", help="List, show and launch runs.")


@recorder.command("run")
def run_recorder() -> None:
    """Record until SIGTERM. Several recorders can run at the same time."""
    recording_process.run_until_signal(db.engine, current_app.extensions["settings"].redis_url)


@observer.command("run")
def run_observer() -> None:
    """Read task events until SIGTERM. Of several observers one reads at a time."""
    settings = current_app.extensions["settings"]
    event_reader.run_until_stopped(celery, db.engine, settings)


@runs.command("list")
@click.option("--state", type=click.Choice([state.value for state in RunState]), help="Only runs in this state.")
@click.option("--task", help="Only runs of this task.")
@click.option("--count", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_runs(state: str | None, task: str | None, count: int, as_json: bool) -> None:
    """List runs, newest first."""
    query = sa.select(Run).order_by(Run.created_at.desc(), Run.id.desc()).limit(count)
    if state:
        query = query.where(Run.state == state)
    if task:
        query = query.where(Run.task == task)
    found = db.session.scalars(query).all()
    if as_json:
        click.echo(json.dumps([as_dict(run) for run in found], indent=2))
        return
    for run in found:
        click.echo(f"{run.id}  {run.state:<11}  {run.created_at:%Y-%m-%d %H:%M:%S} UTC  {one_line(run.task)}")


@runs.command("show")
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_run(run_id: str, as_json: bool) -> None:
    """Show all fields of one run."""
    try:
        found = as_dict(service.get_run(run_id))
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:>16}  {'–' if value is None else without_controls(str(value))}")


@runs.command("launch")
@click.argument("task")
@click.option("--args", "args_text", default="[]", help="Positional arguments as a JSON list.")
@click.option("--kwargs", "kwargs_text", default="{}", help="Keyword arguments as a JSON object.")
@click.option("--queue")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def launch_run(task: str, args_text: str, kwargs_text: str, queue: str | None, as_json: bool) -> None:
    """Launch a task and print the run's ID."""
    args, kwargs = _parse(args_text, list, "--args"), _parse(kwargs_text, dict, "--kwargs")
    try:
        run = control.launch(task, args, kwargs, queue=queue, origin=Origin.COMMAND)
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(as_dict(run), indent=2) if as_json else run.id)
    if note := call_note(task):
        click.echo(note, err=True)
    if run.state == RunState.FAILED:
        raise click.ClickException(run.error or "")


def _parse(text: str, kind: type, option: str) -> Any:
    try:
        value = decode_json(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from error
    if not isinstance(value, kind):
        raise click.BadParameter(f"a JSON {'list' if kind is list else 'object'} is required", param_hint=option)
    return value
