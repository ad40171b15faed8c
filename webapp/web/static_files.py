"""Serves `static/`: compressed once at each release, cached by browsers for a year."""

from __future__ import annotations

from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from whitenoise import WhiteNoise

from webapp.web.compression import compress_folder

# Vendored files have their version in their path, ours a hash of their content in their URL.
MAX_AGE_SECONDS = 31_536_000

static = AppGroup("static", help="Prepare static files.")


def init_static(app: Flask) -> None:
    """Serve static files in front of Flask. Tests use Flask's own route, which never serves an old copy."""
    if app.testing:
        return
    app.wsgi_app = WhiteNoise(  # type: ignore[method-assign]  # how WSGI applications are wrapped
        app.wsgi_app, root=app.static_folder, prefix="static/", max_age=MAX_AGE_SECONDS, allow_all_origins=False
    )


@static.command("compress")
def compress() -> None:
    """Write a compressed copy beside each file that it makes smaller, and remove copies of earlier releases."""
    folder = Path(str(current_app.static_folder))
    try:
        click.echo(f"{compress_folder(folder)} files compressed")
    except OSError as error:
        # A read-only installation serves the files as they are.
        click.echo(f"Static files stay uncompressed: {error}", err=True)
