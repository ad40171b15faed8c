"""`flask schedules export` and `flask schedules import`."""

from __future__ import annotations

import json
from typing import TextIO

import click

from webapp.errors import Invalid
from webapp.schedules import transfer
from webapp.schedules.cli import schedules
from webapp.schedules.forms import said
from webapp.schedules.transfer import Step

SIGNS = {"create": "+", "change": "~", "keep": " ", "refuse": "!"}


@schedules.command("export")
@click.option("--output", "-o", type=click.File("w", encoding="utf-8"), default="-", help="A file; else it is printed.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of YAML; both can be imported.")
def export_schedules(output: TextIO, as_json: bool) -> None:
    """All schedules as YAML."""
    entries = transfer.export_all()
    if as_json:
        output.write(json.dumps({"schedules": entries}, indent=2, ensure_ascii=False) + "\n")
    else:
        output.write(transfer.to_yaml(entries))


@schedules.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--apply", "do_it", is_flag=True, help="Do it; without this the difference is only shown.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def import_schedules(file: TextIO, do_it: bool, as_json: bool) -> None:
    """Bring the schedules of a FILE ("-" for standard input) in: all of them, or none."""
    try:
        entries = transfer.from_yaml(file.read())
        steps = transfer.difference(entries)
        refused = [step for step in steps if step.errors]
        if do_it and not refused:
            transfer.apply(entries)
    except (Invalid, UnicodeDecodeError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(_as_json(steps) if as_json else _as_text(steps))
    if refused:
        raise click.ClickException(f"nothing was written: {len(refused)} of {len(steps)} cannot be taken")
    if not do_it and not as_json:
        click.echo("Nothing was written. Add --apply to do it.")


def _as_json(steps: list[Step]) -> str:
    return json.dumps([transfer.step_values(step) for step in steps], indent=2, ensure_ascii=False)


def _as_text(steps: list[Step]) -> str:
    lines: list[str] = []
    for step in steps:
        lines.append(f"{SIGNS[step.action]} {step.name}")
        lines += [f"    {change.field}: {said(change.before)} -> {said(change.after)}" for change in step.changes]
        lines += [f"    {name}: {text}" for name, text in step.errors.items()]
    return "\n".join(lines)
