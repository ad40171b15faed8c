"""`flask leave`: list what Beatdesk added to its servers, and remove it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import redis
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from beatdesk.encoding import one_line
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.leaving import service
from webapp.leaving.redis_keys import NotOurs
from webapp.leaving.service import Found
from webapp.leaving.tables import Tables
from webapp.messaging.installation import without_password
from webapp.messaging.producers import BROKER_ERRORS
from webapp.web.installed import command

CONFIRMATION = "leave"
# How many names a line lists.
NAMED = 10


@click.command("leave")
@click.option("--remove", is_flag=True, help="Remove all of it, after a confirmation.")
@click.option("--yes", is_flag=True, help="Remove all of it without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_appcontext
def leave(*, remove: bool, yes: bool, as_json: bool) -> None:
    """List what Beatdesk added to its database, Redis and broker, and remove it on request.

    The tables of sqlalchemy-celery-beat and the schedules in them stay, without those of Beatdesk's own tasks. Runs,
    people, emails and the audit are deleted. If it is interrupted, run it again.
    """
    settings: Settings = current_app.extensions["settings"]
    try:
        found = service.find(db.engine, celery, settings)
        if not as_json:
            click.echo("\n".join(_lines(found, settings)))
        if (remove or yes) and not found.nothing:
            _require_stopped(found)
            if not yes:
                _confirm()
            service.remove(db.engine, celery, settings)
    except (NotOurs, SQLAlchemyError, redis.RedisError, *BROKER_ERRORS) as error:
        raise click.ClickException(f"{error}\nRun the command again when this is solved.") from error
    removed = remove or yes
    if as_json:
        click.echo(json.dumps({**found.as_dict(), "removed": removed}, indent=2))
    elif removed and not found.nothing:
        click.echo("\nRemoved. Nothing of Beatdesk is left on these servers.")
    elif not found.nothing:
        click.echo(f"\nNothing was changed. To remove all of this, stop Beatdesk and run: {command('leave --remove')}")


def _require_stopped(found: Found) -> None:
    if found.alive:
        raise click.ClickException(
            "Beatdesk is still running. Stop its processes first, web processes included; adopted workers by "
            "starting them without `beatdesk.adopt`. Alive: "
            f"{'; '.join(found.alive)}. A process that was killed counts as alive for some seconds."
        )


def _confirm() -> None:
    given = click.prompt(
        f"\nThis cannot be undone. Type {CONFIRMATION} to continue", default="", show_default=False, err=True
    )
    if given != CONFIRMATION:
        raise click.ClickException("Nothing was changed.")


def _lines(found: Found, settings: Settings) -> Iterator[str]:
    if found.nothing:
        yield "Nothing of Beatdesk is left on these servers."
        return
    yield f"Database {without_password(settings.database_url)}"
    yield from _of_database(found.tables)
    for url, groups in found.keys.items():
        yield f"Redis {url}"
        yield from _counts(groups, "keys")
    yield f"Broker {without_password(settings.broker_url)}"
    yield from _counts(found.queues, "messages or entries")
    if found.alive:
        yield "Alive, to be stopped first"
        yield from (f"  {one_line(name)}" for name in found.alive)


def _of_database(found: Tables | None) -> Iterator[str]:
    if found is None:
        yield "  nothing"
        return
    yield from (f"  table {name}: {rows:,} rows" for name, rows in sorted(found.rows.items()))
    yield f"  {len(found.triggers)} triggers"
    yield from _schedules("deleted, because only Beatdesk has their tasks", found.deleted)
    yield f"  {found.kept:,} schedules are kept"
    yield from _schedules("kept and disabled, because they are paused", found.disabled)
    yield from _schedules("kept, with their secret arguments as plain text", found.opened)
    yield from _schedules("kept, with secret arguments that this SECRET_KEY cannot decrypt", found.unreadable)
    if found.home is not None:
        yield f"  sqlalchemy-celery-beat's tables return to the schema {found.home}"


def _schedules(what: str, names: list[str]) -> Iterator[str]:
    if names:
        listed = ", ".join(map(one_line, names[:NAMED])) + (", …" if len(names) > NAMED else "")
        yield f"  {len(names):,} schedules are {what}: {listed}"


def _counts(counts: dict[str, int], unit: str) -> Iterator[str]:
    yield from (f"  {one_line(name)}: {number:,} {unit}" for name, number in counts.items())
    if not counts:
        yield "  nothing"
