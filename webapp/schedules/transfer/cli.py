"""`flask schedules export` and `flask schedules import`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO, TextIO

import click
import sqlalchemy as sa
from flask import current_app

from beatdesk.encoding import strict_json_value
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.rows import TASKS
from webapp.schedules.cli.stored import schedules
from webapp.schedules.editor.forms import said
from webapp.schedules.sources.database import from_database
from webapp.schedules.sources.formats import FORMATS, ImportOptions, decode, disable_unknown, read, read_zone
from webapp.schedules.sources.given import Given
from webapp.schedules.sources.python.beat_schedule import from_module
from webapp.schedules.sources.redbeat import PREFIX, from_redbeat
from webapp.schedules.transfer import service
from webapp.schedules.transfer.export import FORMATS as EXPORT_FORMATS
from webapp.schedules.transfer.export import export
from webapp.schedules.transfer.service import Step
from webapp.web.errors import Invalid
from webapp.web.formats import plural

SOURCES = ("beat_schedule", "database", "redbeat")
# The fields of errors that are options of the command.
OPTIONS = ("timezone", "redbeat", "without")
SIGNS = {"create": "+", "change": "~", "keep": " ", "remove": "-", "skip": "/", "refuse": "!"}


@schedules.command("export")
@click.option(
    "--output",
    "-o",
    type=click.File("w", encoding="utf-8"),
    default="-",
    help="Default: standard output.",
)
@click.option("--format", "format_", type=click.Choice(list(EXPORT_FORMATS)), default="yaml", show_default=True)
def export_schedules(output: TextIO, format_: str) -> None:
    """All schedules. YAML and JSON can be imported again; Python is for Celery's own beat."""
    found = export(format_, with_seals=True)
    output.write(found.text)
    if found.sealed:
        hint = f"Secret arguments are sealed and need the same SECRET_KEY: {plural(len(found.sealed), 'schedule')}."
        click.echo(hint, err=True)


@schedules.command("import")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--format", "format_", type=click.Choice(list(FORMATS)), help="Default: detected automatically.")
@click.option("--beat-schedule", metavar="MODULE:ATTRIBUTE", help="A beat_schedule dict in your own code.")
@click.option("--database", metavar="URL", help="A database of django-celery-beat, sqlalchemy-celery-beat or Beatdesk.")
@click.option("--redbeat", metavar="URL", help="The Redis of RedBeat, redis:// or rediss://.")
@click.option("--redbeat-key-prefix", metavar="TEXT", default=PREFIX, show_default=True, help="Key prefix of RedBeat.")
@click.option("--timezone", help="Zone of crontabs without one. Default: TIMEZONE; for beat_schedule and RedBeat, UTC.")
@click.option("--task", "tasks", multiple=True, metavar="[COMMAND=]TASK", help="The task of a crontab's command.")
@click.option("--without", multiple=True, metavar="NAME", help="Leave this entry out; can be repeated.")
@click.option("--remove", is_flag=True, help="Delete schedules that are not in the import.")
@click.option("--disabled", is_flag=True, help="Add new schedules as disabled.")
@click.option("--apply", "do_it", is_flag=True, help="Write the changes. Default: only show them.")
@click.option("--skip-refused", is_flag=True, help="Import the rest if some entries cannot be imported.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_schedules(
    file: BinaryIO | None, without: tuple[str, ...], do_it: bool, skip_refused: bool, as_json: bool, **source: Any
) -> None:
    """Import the schedules of a FILE ("-" for standard input).

    Where an entry cannot be imported, nothing is written and the exit code is 1; with --skip-refused the others are
    imported and it is 3.
    """
    if sum(bool(source[name]) for name in SOURCES) + bool(file) != 1:
        raise click.UsageError("Choose one source: FILE, --beat-schedule, --database or --redbeat.")
    options: dict[str, Any] = {"remove": source["remove"], "without": without}
    try:
        entries = _entries(file, source)
        if source["disabled"]:
            entries = _disabled(entries)
        steps = service.difference(entries, **options)
        service.require_entries(steps, without)
        refused = [step for step in steps if step.errors]
        do_it = do_it and (not refused or (skip_refused and service.written(steps) > 0))
        if do_it:
            steps = service.apply(entries, **options, skip_refused=skip_refused)
    except Invalid as error:
        raise click.ClickException(_with_option(error)) from error
    finally:
        db.session.rollback()
    click.echo(_as_json(steps) if as_json else _as_text(steps))
    if refused:
        raise _refused(len(refused), steps, written=do_it)
    if not do_it and not as_json:
        click.echo("Nothing was written. Add --apply to write the changes.")


class _PartlyWritten(click.ClickException):
    """Some entries could not be imported; all others were."""

    exit_code = 3


def _refused(refused: int, steps: Sequence[Step], *, written: bool) -> click.ClickException:
    summary = f"{refused} of {len(steps)} cannot be imported"
    if written:
        return _PartlyWritten(f"{summary}; {plural(service.written(steps), 'other schedule')} written")
    ways = "--without NAME leaves one out, --skip-refused imports the rest"
    return click.ClickException(f"nothing was written: {summary}; {ways}")


def _with_option(error: Invalid) -> str:
    """The messages of an error, each with the option at fault."""
    return str(Invalid({f"--{name}" if name in OPTIONS else name: text for name, text in error.fields.items()}))


def _entries(file: BinaryIO | None, source: dict[str, Any]) -> list[Given]:
    zone = read_zone(source["timezone"] or current_app.extensions["settings"].timezone)
    # Celery and RedBeat have a default of their own.
    chosen = zone if source["timezone"] else ""
    if source["beat_schedule"]:
        return disable_unknown(from_module(source["beat_schedule"], chosen))
    if source["database"]:
        return disable_unknown(from_database(source["database"], now(), chosen or "UTC"))
    if source["redbeat"]:
        return disable_unknown(from_redbeat(source["redbeat"], source["redbeat_key_prefix"], chosen))
    assert file is not None  # noqa: S101  # one source is there
    # Split at the last "=": commands may contain it, names of tasks do not.
    mapped = {command.strip(): task.strip() for command, _, task in (one.rpartition("=") for one in source["tasks"])}
    return read(decode(file.read()), ImportOptions(source["format_"] or "", zone, mapped, bool(chosen)), now())


def _disabled(entries: Sequence[Given]) -> list[Given]:
    """The entries with new schedules disabled; existing ones stay as they are."""
    found = {row.name: row.enabled for row in db.session.execute(sa.select(TASKS.c.name, TASKS.c.enabled))}
    return [replace(one, fields={**one.fields, "enabled": found.get(one.name, False)}) for one in entries]


def _as_json(steps: list[Step]) -> str:
    return json.dumps(strict_json_value([service.step_values(step) for step in steps]), indent=2, ensure_ascii=False)


def _as_text(steps: list[Step]) -> str:
    lines: list[str] = []
    for step in steps:
        place = f"  (line {step.line})" if step.line and (step.errors or step.action == "skip") else ""
        lines.append(f"{SIGNS[step.action]} {step.key}{place}")
        lines += [
            f"    {change.field}: {said(change.before, change.field)} -> {said(change.after, change.field)}"
            for change in step.changes
        ]
        lines += [f"    {text}" for text in (*step.notes, step.withdrawn) if text]
        lines += [f"    {name}: {text}" if name else f"    {text}" for name, text in step.errors.items()]
    return "\n".join(lines)
