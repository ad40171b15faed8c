"""`flask schedules export` and `flask schedules import`."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click
from flask import current_app

from webapp.database import now
from webapp.encoding import strict_json_value
from webapp.errors import Invalid
from webapp.extensions import db
from webapp.formats import plural
from webapp.schedules import transfer
from webapp.schedules.cli import schedules
from webapp.schedules.forms import said
from webapp.schedules.sources.beat_export import to_source
from webapp.schedules.sources.beat_schedule import from_module
from webapp.schedules.sources.database import from_database
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.own import to_yaml
from webapp.schedules.sources.reading import FORMATS, Asked, read
from webapp.schedules.transfer import Step

SIGNS = {"create": "+", "change": "~", "keep": " ", "remove": "-", "skip": "/", "refuse": "!"}


@schedules.command("export")
@click.option("--output", "-o", type=click.File("w", encoding="utf-8"), default="-", help="A file; else it is printed.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML; both can be imported.")
@click.option("--beat-schedule", is_flag=True, help="Python source for Celery's own beat.")
def export_schedules(output: TextIO, as_json: bool, beat_schedule: bool) -> None:
    """All schedules as YAML."""
    if beat_schedule:
        output.write(to_source(transfer.snapshots()))
        return
    entries = transfer.export_all(with_seals=True)
    sealed = transfer.sealed(entries)
    if as_json:
        values = {"schedules": entries} | ({"sealed": sealed} if sealed else {})
        output.write(json.dumps(strict_json_value(values), indent=2, ensure_ascii=False) + "\n")
    else:
        output.write(to_yaml(entries, sealed))
    if sealed:
        told = f"Sealed, for the same SECRET_KEY only: secret arguments of {plural(len(sealed), 'schedule')}."
        click.echo(told, err=True)


@schedules.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"), required=False)
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), help="Of the FILE; else it is guessed.")
@click.option("--beat-schedule", metavar="MODULE:ATTRIBUTE", help="A dict of Celery's in your own code, imported.")
@click.option("--database", metavar="URL", help="Another database, of sqlalchemy-celery-beat or of Beatdesk.")
@click.option("--timezone", help="Of crontabs that name none; else TIMEZONE.")
@click.option("--task", "tasks", multiple=True, metavar="[COMMAND=]TASK", help="Which task a crontab's command is.")
@click.option("--remove", is_flag=True, help="Delete schedules that are not among those imported.")
@click.option("--apply", "do_it", is_flag=True, help="Do it; without this the difference is only shown.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def import_schedules(file: TextIO | None, remove: bool, do_it: bool, as_json: bool, **source: Any) -> None:
    """Bring the schedules of a FILE ("-" for standard input) in: all of them, or none."""
    if sum(bool(one) for one in (file, source["beat_schedule"], source["database"])) != 1:
        raise click.UsageError("Name one source: a FILE, --beat-schedule or --database.")
    try:
        entries = _entries(file, source)
        steps = transfer.difference(entries, remove=remove)
        refused = [step for step in steps if step.errors]
        if do_it and not refused:
            steps = transfer.apply(entries, remove=remove)
    except (Invalid, UnicodeDecodeError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        db.session.rollback()
    click.echo(_as_json(steps) if as_json else _as_text(steps))
    if refused:
        raise click.ClickException(f"nothing was written: {len(refused)} of {len(steps)} cannot be taken")
    if not do_it and not as_json:
        click.echo("Nothing was written. Add --apply to do it.")


def _entries(file: TextIO | None, source: dict[str, Any]) -> list[Given]:
    zone = source["timezone"] or current_app.extensions["settings"].timezone
    if source["beat_schedule"]:
        return from_module(source["beat_schedule"], zone)
    if source["database"]:
        return from_database(source["database"], now())
    assert file is not None  # noqa: S101  # one of the three is there
    # The last "=" divides: commands may have some, names of tasks have none.
    mapped = {command.strip(): task.strip() for command, _, task in (one.rpartition("=") for one in source["tasks"])}
    return read(file.read(), Asked(source["format_"] or "", zone, mapped), now())


def _as_json(steps: list[Step]) -> str:
    return json.dumps(strict_json_value([transfer.step_values(step) for step in steps]), indent=2, ensure_ascii=False)


def _as_text(steps: list[Step]) -> str:
    lines: list[str] = []
    for step in steps:
        place = f"  (line {step.line})" if step.line and step.errors else ""
        lines.append(f"{SIGNS[step.action]} {step.name}{place}")
        lines += [f"    {change.field}: {said(change.before)} -> {said(change.after)}" for change in step.changes]
        lines += [f"    {text}" for text in (*step.notes, step.withdrawn) if text]
        lines += [f"    {name}: {text}" if name else f"    {text}" for name, text in step.errors.items()]
    return "\n".join(lines)
