"""The program `beatdesk-server`: everything, each process of the Procfile, and the command groups of `flask`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from functools import cache
from pathlib import Path

import click
from flask import Flask
from flask.cli import ScriptInfo

from beatdesk.project import user_data_folder
from webapp import __version__
from webapp.launcher.__main__ import main as run_everything
from webapp.launcher.procfile import read_procfile, shell_command
from webapp.web.installed import INSTALLED, ROOT, resource


class Server(click.Group):
    """Commands that are there without loading the application, which takes a second, and those of `flask`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands: the processes first."""
        own = super().list_commands(ctx)
        return [*own, *sorted(_flask_groups().keys() - {*own})]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A process, else a command group; recorder and observer are processes here."""
        return super().get_command(ctx, cmd_name) or _flask_groups().get(cmd_name)


@click.group(cls=Server)
@click.version_option(__version__, prog_name="beatdesk-server")
@click.pass_context
def server(ctx: click.Context) -> None:
    """Beatdesk, an admin for Celery.

    `run` starts everything on this machine. The other processes are for one service each.
    """
    prepare(os.environ)
    ctx.obj = ScriptInfo(create_app=_load)


@server.command()
def run() -> None:
    """Start every process, and a Valkey server and a local mailbox unless REDIS_URL and MAIL_SERVER are set."""
    sys.exit(run_everything())


def prepare(environ: MutableMapping[str, str]) -> None:
    """Prepare the environment of processes, which run in another folder and find their programs on the PATH."""
    if not environ.get("BEATDESK_DATA") and INSTALLED:
        folder = user_data_folder(environ)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environ["BEATDESK_DATA"] = str(folder)
    if data := environ.get("BEATDESK_DATA"):
        environ["BEATDESK_DATA"] = str(Path(data).absolute())
    if folders := environ.get("PYTHONPATH"):
        environ["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in folders.split(os.pathsep))
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])


def _process(name: str, line: str) -> click.Command:
    """The command for a line of the Procfile; this process becomes the one that it starts."""

    @click.command(name, help=f"Run one process: {line}", context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def start(arguments: tuple[str, ...]) -> None:
        # In this folder, so that a `wsgi.py` of another project is not taken for ours.
        os.chdir(ROOT)
        shell = shell_command(line, arguments)
        os.execv(shell[0], shell)  # noqa: S606  # the command is that of the Procfile

    return start


@cache
def _flask_groups() -> Mapping[str, click.Command]:
    from flask_migrate.cli import db

    from webapp.cli import COMMANDS

    return {str(group.name): group for group in (db, *COMMANDS)}


def _load() -> Flask:
    # As the program `flask` says it, for which the application prepares migrations.
    os.environ["FLASK_RUN_FROM_CLI"] = "true"
    # Before the folders of PYTHONPATH, which may have a module of that name.
    sys.path.insert(0, str(ROOT))
    from wsgi import app

    return app


for _name, _line in read_procfile(resource("Procfile")).items():
    server.add_command(_process(_name, _line))


def main() -> None:
    """The entry point."""
    server(prog_name="beatdesk-server")
