"""`flask schedules`: list, show and next; export and import."""

from __future__ import annotations

import json
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from beatdesk.encoding import one_line, strict_json_value, without_controls
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recurrence import Recurrence
from webapp.schedule_store import stored
from webapp.schedule_store.definition import due_values
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.status import Status
from webapp.schedule_store.stored import Stored
from webapp.schedules.cli.next import make_next_command
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters, Listed
from webapp.schedules.schedule_json import listed_values, schedule_values
from webapp.task_catalogue.registry import is_unknown

schedules = AppGroup("schedules", help="List, show, preview, export and import schedules.")


def lookup(name: str) -> tuple[Recurrence, int] | None:
    """The recurrence and the number of past runs of a schedule; None if no schedule has this name."""
    found = stored.find_named(db.session, name)
    if found is None:
        return None
    if found.recurrence is None:
        raise click.ClickException(f"{name}: {found.problem}")
    return found.recurrence, found.runs


next_command = make_next_command(lookup)
if next_command.callback is not None:
    # A group adds the application context only to commands that it creates itself.
    next_command.callback = with_appcontext(next_command.callback)
schedules.add_command(next_command)


@schedules.command("list")
@click.option("--search", default="", help="Text in the name, task, description or tags.")
@click.option("--status", default="", type=click.Choice(["", *Status]), help="Only schedules with this status.")
@click.option("--tag", default="", help="Only schedules with this tag.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_schedules(search: str, status: str, tag: str, as_json: bool) -> None:
    """List schedules by name."""
    moment, pauses, after = now(), unsettled(db.session), ""
    rows: list[Listed] = []
    while True:
        page = listing.page(Filters(q=search, status=status, tag=tag), moment, pauses, after=after, size=400)
        rows += page.rows
        if page.after is None:
            break
        after = page.after
    if as_json:
        click.echo(json.dumps(strict_json_value([listed_values(row) for row in rows]), indent=2, ensure_ascii=False))
        return
    for row in rows:
        due = f"{row.next_fires_at:%Y-%m-%d %H:%M:%S} UTC" if row.next_fires_at else "–"
        found = row.schedule
        status = "task unknown" if is_unknown(found.row.task) else row.status
        click.echo(f"{found.id:>6}  {status:<12}  {due:<23}  {one_line(found.name)}  ({found.words})")


@schedules.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show_schedule(name: str, as_json: bool) -> None:
    """Show a schedule, by its name or ID, with its next due times."""
    found = find(name)
    values = schedule_values(found) | {"next": [due_values(due) for due in found.due_times(now(), 10)]}
    if as_json:
        click.echo(json.dumps(strict_json_value(values), indent=2, ensure_ascii=False))
        return
    for field, value in values.items():
        if field == "next":
            continue
        click.echo(f"{field:>16}  {without_controls(_value_text(value))}")
    for due in values["next"]:
        click.echo(f"{'next':>16}  {due['utc']}  {due['local']}  {due['note']}".rstrip())


def find(name: str) -> Stored:
    """A schedule by its name, else by its id. Raises click's exception if there is none."""
    found = stored.find_named(db.session, name)
    if found is None and name.isascii() and name.isdigit() and len(name) < 10:
        found = stored.find(db.session, int(name))
    if found is None:
        raise click.ClickException(f"there is no schedule '{name}'")
    return found


def _value_text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
