"""`celery -A proj beatdesk`: starts the server. Imports click alone, because every `celery` command loads this."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import click

PROGRAM = "beatdesk-server"
INSTALL = f"pipx install {PROGRAM}"
READY_SECONDS = 120.0


@click.command("beatdesk")
@click.option("--server", metavar="PATH", help=f"The program {PROGRAM}. Default: the one on the PATH.")
@click.option(
    "--import-schedule/--no-import-schedule",
    "wanted",
    default=None,
    help="Import your beat_schedule, disabled until you enable its entries. Default: asked at the first start.",
)
@click.pass_context
def beatdesk(ctx: click.Context, server: str | None, wanted: bool | None) -> None:
    """Start Beatdesk beside this project, with its broker, until Ctrl-C.

    Your workers and your beat stay as they are. Settings of the server are variables such as BEATDESK_PORT.
    """
    program, app = _find(server), ctx.obj.app
    app.loader.import_default_modules()
    app.finalize()
    # Imported here, because other commands need none of it.
    from beatdesk.project import server_environment

    environ = server_environment(app, os.environ)
    wanted = _wants_import(app, environ, wanted)
    _detached(lambda pid: _when_ready(app, program, environ, pid, wanted=wanted))
    # This process becomes the server, so that Ctrl-C and signals reach it. It runs in a folder without modules.
    os.chdir("/")
    os.execve(program, [program, "run"], environ)  # noqa: S606  # the program that the user chose


def _find(given: str | None) -> str:
    """The absolute path of the server's program. Raises click's exception."""
    beside = str(Path(sys.executable).parent)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), beside])
    found = shutil.which(given or PROGRAM, path=path)
    if found is None:
        if given:
            raise click.BadParameter(f"there is no program {given}", param_hint="--server")
        raise click.ClickException(f"The server is not installed. Install it with: {INSTALL}")
    return str(Path(found).absolute())


def _wants_import(app: Any, environ: Mapping[str, str], wanted: bool | None) -> bool:
    """Whether to import their schedule: asked once, on a terminal."""
    count = len(app.conf.beat_schedule)
    if not count or wanted is not None:
        return bool(count and wanted)
    found = f"Your beat_schedule has {count} {'entry' if count == 1 else 'entries'}."
    first = not Path(environ["BEATDESK_DATA"]).exists()
    if first and sys.stdin.isatty():
        return click.confirm(f"{found} Import {'it' if count == 1 else 'them'} into Beatdesk, disabled?")
    click.echo(f"{found} To import {'it' if count == 1 else 'them'}, add --import-schedule.")
    return False


def _detached(work: Any) -> None:
    """Do this in a process beside the server, with the ID of the process that becomes the server."""
    server = os.getpid()
    sys.stdout.flush()
    if (child := os.fork()) != 0:
        os.waitpid(child, 0)
        return
    # A grandchild, so that the server has no child that it did not start.
    if os.fork() == 0:
        try:
            work(server)
        except KeyboardInterrupt:
            pass
        except Exception as error:  # noqa: BLE001  # the server runs on
            click.echo(f"Your tasks and schedule did not reach Beatdesk: {error}", err=True)
    os._exit(0)


def _when_ready(app: Any, program: str, environ: Mapping[str, str], pid: int, *, wanted: bool) -> None:
    """Announce the project's tasks and import its schedule, once the server is ready."""
    settings = _settings_of_server(Path(environ["BEATDESK_DATA"]), pid)
    if wanted and settings is not None:
        _import_schedule(app, program, environ)


def _settings_of_server(data: Path, pid: int) -> Mapping[str, str] | None:
    """The settings of the server once it serves pages; None if it has ended before."""
    began, file = time.time(), data / "env.sh"
    while _runs(pid) and time.time() - began < READY_SECONDS:
        # One that is older was left by a server that was killed.
        if file.exists() and file.stat().st_mtime > began - 1:
            found = dict(word.split("=", 1) for word in shlex.split(file.read_text()) if "=" in word)
            found = {name.removeprefix("BEATDESK_"): value for name, value in found.items()}
            if _serves(found):
                return found
        time.sleep(0.1)
    return None


def _serves(settings: Mapping[str, str]) -> bool:
    host = settings["HOST"]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    address = f"[{host}]" if ":" in host else host
    try:
        urlopen(f"http://{address}:{settings['PORT']}/healthz", timeout=5).close()
    except (URLError, OSError):
        return False
    return True


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _import_schedule(app: Any, program: str, environ: Mapping[str, str]) -> None:
    from beatdesk.schedule_source import schedule_source

    options = ["--format", "beat_schedule", "--disabled", "--apply", "--skip-refused"]
    # By its standard input, because arguments of tasks may be secret.
    done = subprocess.run(  # noqa: S603  # the program that the user chose
        [program, "schedules", "import", "-", *options],
        input=schedule_source(app),
        text=True,
        env=environ,
        cwd="/",
        check=False,
    )
    if done.returncode in (0, 3):
        click.echo("Your schedule is imported, disabled. Stop your own beat, then enable its entries under Schedules.")
