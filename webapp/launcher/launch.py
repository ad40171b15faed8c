"""Starts everything, waits until it is ready, and stops it.

1. Lock the data folder; complete the settings; choose which servers are embedded.
2. At the same time: start the embedded servers, and migrate the database (`release` of the Procfile).
3. Start every other process of the Procfile; poll `/readyz` until it is ready.
4. Print the line for signing in. From here on, processes that end are restarted.
5. At Ctrl-C, SIGTERM or SIGHUP: stop the Procfile's processes first, then the servers that they need.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile

from webapp.config import NAMES, reachable, unknown_settings, variable
from webapp.database.private_files import database_files, tighten
from webapp.launcher import probes
from webapp.launcher.errors import LaunchError
from webapp.launcher.folder import DataFolder, claimed, write_private
from webapp.launcher.output import Terminal
from webapp.launcher.plan import Plan, SignIn, make_plan, read_settings, require_free, with_pool
from webapp.launcher.supervisor import Spec, Supervisor

STOP_SECONDS = 8.0
"""Everything has stopped by then; processes that do not react are killed."""

READY_SECONDS = 120.0
"""A start that takes longer fails."""

REPORT_SECONDS = 10.0
"""How often a slow start reports what is missing."""

NOT_SHARED = frozenset({"ADMIN_EMAIL", "ADMIN_PASSWORD", "METRICS_TOKEN"})
"""The settings that commands in other terminals do not need."""

NOT_EXPORTED = frozenset({"TASK_MODULES", "WORKER_QUEUES"})
"""A shell that has read the file must not pass these to another installation's `make run`."""

ACCOUNT_EXISTS = "exists already"
"""The output of `flask users ensure-admin` when it created no account."""


def launch(environ: Mapping[str, str], root: Path, terminal: Terminal) -> None:
    """Run everything until a signal. `root` has the Procfile.

    Raises ConfigError or LaunchError, after everything that was started has stopped.
    """
    settings = read_settings(environ)
    for unknown in unknown_settings(environ):
        terminal.say(unknown)
    with claimed(settings.data) as folder:
        if line := tighten([folder.path, *folder.secrets, *database_files(settings.database_url)]):
            terminal.say(line)
        require_free(settings.host, settings.port)
        plan = make_plan(with_pool(environ, settings), folder)
        with environment_file(folder, plan.environ):
            asyncio.run(_run(plan, folder, root, terminal))


async def _run(plan: Plan, folder: DataFolder, root: Path, terminal: Terminal) -> None:
    supervisor = Supervisor(plan.environ, root, folder.subfolder("log"), terminal)
    stop = _stop_signals(supervisor)
    try:
        started = await _until_stopped(stop, supervisor, _start(plan, supervisor, root, terminal))
        if started:
            supervisor.restarts = True
            await stop.wait()
        terminal.say("Stopping.")
    finally:
        await supervisor.stop(STOP_SECONDS)
    terminal.say(f"Stopped. The data stays in {folder.path}.")


async def _start(plan: Plan, supervisor: Supervisor, root: Path, terminal: Terminal) -> None:
    processes = parse_procfile((root / "Procfile").read_text()).processes
    servers = _embedded(plan)
    supervisor.keep(*servers)
    release = supervisor.run(Spec("release", _shell(processes.pop("release"))))
    output, _ = await asyncio.gather(release, asyncio.gather(*map(probes.until, servers.values())))
    supervisor.keep(*(Spec(name, _shell(command)) for name, command in processes.items()))
    await _ready(plan, terminal)
    terminal.announce(ready_line(plan.settings.public_url, plan.sign_in, created=ACCOUNT_EXISTS not in output))


def _embedded(plan: Plan) -> dict[Spec, Callable[[], Awaitable[bool]]]:
    """Each embedded server, with the probe of whether it serves."""
    servers: dict[Spec, Callable[[], Awaitable[bool]]] = {}
    if (valkey := plan.valkey) is not None:
        spec = Spec("valkey", tuple(valkey.command()), last=True, hidden=True)
        servers[spec] = partial(probes.valkey_answers, valkey.port, valkey.password)
    if (sink := plan.sink) is not None:
        servers[Spec("smtp", tuple(sink.command()), last=True)] = partial(probes.smtp_answers, sink.port)
    return servers


async def _ready(plan: Plan, terminal: Terminal) -> None:
    began = reported = time.monotonic()
    while missing := await probes.missing(reachable(plan.settings.host), plan.settings.port):
        waits_for = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        now = time.monotonic()
        if now - began > READY_SECONDS:
            raise LaunchError(f"Beatdesk was not ready after {READY_SECONDS:.0f} s. Still missing: {waits_for}.")
        if now - reported > REPORT_SECONDS:
            terminal.say(f"Still waiting. {waits_for}")
            reported = now
        await asyncio.sleep(probes.PROBE_INTERVAL)


async def _until_stopped(stop: asyncio.Event, supervisor: Supervisor, work: Coroutine[Any, Any, Any]) -> bool:
    """Do the work, but cancel it at a signal or when a process fails; gives whether it is done. Raises LaunchError."""
    doing = asyncio.create_task(work)
    others = [asyncio.create_task(stop.wait()), asyncio.create_task(supervisor.watch())]
    try:
        await asyncio.wait([doing, *others], return_when=asyncio.FIRST_COMPLETED)
        for task in (doing, *others):
            if task.done():
                task.result()
        return doing.done()
    finally:
        for task in (doing, *others):
            task.cancel()
        await asyncio.gather(doing, *others, return_exceptions=True)


def _stop_signals(supervisor: Supervisor) -> asyncio.Event:
    """An event that is set by the first signal; the second one kills everything."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # With `nohup make run` it outlives its terminal.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal)
    return stop


def _shell(command: str) -> tuple[str, ...]:
    """The command for a shell, as in a Procfile. A single program replaces the shell, so that signals reach it."""
    simple = not set(command) & set(";&|")
    return ("/bin/sh", "-c", f"exec {command}" if simple else command)


def ready_line(url: str, sign_in: SignIn, *, created: bool) -> str:
    """The line with the URL and how to sign in. `created` if this start created the admin.

    Only then the account has the password that the launcher generated.
    """
    start = f"Beatdesk is ready: {url}  sign in as {sign_in.email}"
    if sign_in.password is None:
        return f"{start} with the password {'in ADMIN_PASSWORD' if created else 'that was set at the first start'}"
    if created:
        return f"{start} with password {sign_in.password}"
    if sign_in.new:
        return f"{start} with the password that was set when the account was created"
    return f"{start} with the password of the first start (kept in {sign_in.file}, unless it has been changed)"


@contextmanager
def environment_file(folder: DataFolder, environ: Mapping[str, str]) -> Iterator[None]:
    """While it runs, `var/env.sh` gives `flask` and `celery` commands its settings (see `use_data_folder`)."""
    file = folder.path / "env.sh"
    shared = {variable(name): name not in NOT_EXPORTED for name in NAMES - NOT_SHARED} | {"PATH": True}
    lines = (
        f"{'export ' if exported else ''}{name}={shlex.quote(environ[name])}\n"
        for name, exported in sorted(shared.items())
        if name in environ
    )
    write_private(file, "".join(lines))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
