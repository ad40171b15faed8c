"""Serves `static/`: compressed once at each release, cached by browsers for a year."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup
from whitenoise import WhiteNoise
from whitenoise.compress import Compressor

# Vendored files have their version in their path, ours a hash of their content in their URL.
MAX_AGE_SECONDS = 31_536_000
COMPRESSED = (".gz", ".br")

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


def compress_folder(folder: Path) -> int:
    """Compress the files of a folder; gives how many copies were written. Raises OSError.

    A copy that is up to date is left alone: an installed distribution brings its own, and may be read-only.
    """
    for old in [path for path in folder.rglob("*") if path.suffix in COMPRESSED and not _is_current(path)]:
        old.unlink()
    compressor = Compressor(quiet=True, use_brotli=False)
    files = [path for path in folder.rglob("*") if path.is_file() and compressor.should_compress(path.name)]
    missing = [path for path in files if not Path(f"{path}.gz").exists()]
    return sum(len(list(compressor.compress(str(path)))) for path in missing)


def _is_current(copy: Path) -> bool:
    file = copy.with_suffix("")
    if copy.suffix != ".gz" or not file.exists():
        return False
    try:
        return gzip.decompress(copy.read_bytes()) == file.read_bytes()
    except (EOFError, OSError, zlib.error):
        return False
