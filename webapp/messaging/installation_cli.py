"""`flask installation …`: whose the servers are."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from webapp.extensions import celery
from webapp.messaging import installation as marks

installation = AppGroup("installation", help="Look whose Redis and broker are, or take them over.")


@installation.command("check")
def check() -> None:
    """Look whether Redis and the broker are this installation's; sets its mark where there is none."""
    settings = current_app.extensions["settings"]
    with celery.connection_for_write() as connection:
        marks.require(settings.redis_url, lambda: marks.mark_broker(connection))
    click.echo(f"This is the installation {marks.own_id()}.")


@installation.command("take-over")
def take_over() -> None:
    """Make Redis and the broker this installation's, after it has replaced the one that used them.

    Whatever of the other one still runs ends within seconds.
    """
    with celery.connection_for_write() as connection:
        marks.take_over(current_app.extensions["settings"].redis_url, connection)
    click.echo(f"Redis and the broker belong to the installation {marks.own_id()} now.")
