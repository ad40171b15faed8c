"""`celery -A proj beatdesk`: starts the server. Imports click alone, because every `celery` command loads this."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
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


def _detached(work: Callable[[int], None]) -> None:
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
    """Announce the project's tasks once the server's Redis answers, and import its schedule once pages are served."""
    began = time.time()
    settings = _until(lambda: _settings_of_server(Path(environ["BEATDESK_DATA"]), began), pid)
    announced = settings and _until(lambda: _announced(app, settings["REDIS_URL"]), pid)
    if announced and wanted and _until(lambda: _serves(settings), pid):
        _import_schedule(app, program, environ)


def _until(ask: Callable[[], Any], pid: int) -> Any:
    """The first answer that is true; None if the server ends before, or is not ready in time."""
    give_up = time.monotonic() + READY_SECONDS
    while time.monotonic() < give_up and _runs(pid):
        if answer := ask():
            return answer
        time.sleep(0.1)
    return None


def _settings_of_server(data: Path, began: float) -> Mapping[str, str] | None:
    """The settings of the server that was started at that time; None until it has written them down."""
    file = data / "env.sh"
    # An older one was left by a server that was killed. File systems may cut the time to a second.
    if not file.exists() or file.stat().st_mtime < began - 1:
        return None
    words = dict(word.split("=", 1) for word in shlex.split(file.read_text()) if "=" in word)
    return {name.removeprefix("BEATDESK_"): text for name, text in words.items()}


def _announced(app: Any, redis_url: str) -> bool:
    """Announce the project's tasks; False if Redis does not answer yet."""
    import redis

    from beatdesk.announcing import announce

    try:
        with redis.Redis.from_url(redis_url) as client:
            announce(app, client)
    except redis.RedisError:
        return False
    return True


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
