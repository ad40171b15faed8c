"""`flask installation …`: the owner of Redis and the broker."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import AppGroup

from webapp.extensions import celery
from webapp.messaging import installation as marks

installation = AppGroup("installation", help="Check which installation uses Redis and the broker, or take them over.")


@installation.command("check")
def check() -> None:
    """Check that Redis and the broker belong to this installation, and mark them if they have no mark."""
    settings = current_app.extensions["settings"]
    with celery.connection_for_write() as connection:
        marks.require(settings.redis_url, lambda: marks.mark_broker(connection))
    click.echo(f"Redis and the broker belong to this installation ({marks.own_id()}).")


@installation.command("take-over")
def take_over() -> None:
    """Assign Redis and the broker to this installation after it replaced the previous one.

    Processes of the previous installation stop within seconds.
    """
    with celery.connection_for_write() as connection:
        marks.take_over(current_app.extensions["settings"].redis_url, connection)
    click.echo(f"Redis and the broker now belong to this installation ({marks.own_id()}).")
