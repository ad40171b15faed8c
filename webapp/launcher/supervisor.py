"""Keeps processes running, and stops them all in order.

Until everything has been ready once, a process that ends makes the start fail, so that its error is seen. From then on
it is restarted, after 1 s, 2 s, 4 s, … up to 30 s, with a line that says so: one crash must not take down everything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webapp.launcher.environment import environment_of
from webapp.launcher.errors import LaunchError
from webapp.launcher.output import Output, Terminal
from webapp.launcher.process import Process, how_it_ended

MIN_RESTART_PAUSE = 1.0
MAX_RESTART_PAUSE = 30.0
"""Seconds before a process that ended is restarted."""

NOT_STARTED = 127
"""The exit code of a shell for a command that it cannot find."""

HEALTHY_SECONDS = 60.0
"""After a run of so many seconds the pause before a restart begins at its minimum again."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A command to run. A `last` one is stopped after the others; a `hidden` one's output stays off the terminal."""

    name: str
    command: Sequence[str]
    last: bool = False
    hidden: bool = False


class Supervisor:
    """Runs processes in one folder, each with its part of an environment; their logs are in another folder."""

    def __init__(self, environ: Mapping[str, str], folder: Path, logs: Path, terminal: Terminal) -> None:
        self._environ = environ
        self._folder = folder
        self._logs = logs
        self._terminal = terminal
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()
        self._error: LaunchError | None = None
        self._tasks: dict[Spec, asyncio.Task[Any]] = {}
        self._running: dict[Spec, Process] = {}
        self.restarts = False

    def keep(self, *specs: Spec) -> None:
        """Start these, all at once, and keep them running until `stop`."""
        for spec in specs:
            self._tasks[spec] = asyncio.create_task(self._keep(spec))

    async def run(self, spec: Spec) -> str:
        """Run a command to its end; gives its last lines. Raises LaunchError if it fails."""
        with self._output(spec) as output:
            self._tasks[spec] = asyncio.create_task(self._once(spec, output))
            # Shielded: after a cancellation `stop` ends the process and waits for it.
            code = await asyncio.shield(self._tasks[spec])
            if code != 0:
                raise self._failure(spec, code, output)
            return output.last_lines()

    async def watch(self) -> None:
        """Wait until a process ends that must not. Then raises LaunchError."""
        await self._failed.wait()
        if self._error is not None:
            raise self._error

    async def stop(self, seconds: float) -> None:
        """Stop everything within so many seconds; processes that do not react are killed."""
        self._stopping.set()
        await self._end([spec for spec in self._tasks if not spec.last], seconds * 0.75)
        await self._end([spec for spec in self._tasks if spec.last], seconds * 0.25)

    def kill(self) -> None:
        """Kill everything."""
        self._stopping.set()
        for process in self._running.values():
            process.kill()

    async def _end(self, specs: list[Spec], seconds: float) -> None:
        tasks = [self._tasks[spec] for spec in specs]
        if not tasks:
            return
        for spec in specs:
            if spec in self._running:
                self._running[spec].terminate()
        _, waiting = await asyncio.wait(tasks, timeout=seconds)
        if waiting:
            for spec in specs:
                if spec in self._running:
                    self._terminal.say(f"{spec.name} did not stop when asked and was killed.")
                    self._running[spec].kill()
            await asyncio.wait(waiting)

    async def _keep(self, spec: Spec) -> None:
        pause = MIN_RESTART_PAUSE
        with self._output(spec) as output:
            while True:
                started = time.monotonic()
                code = await self._once(spec, output)
                if self._stopping.is_set():
                    return
                if not self.restarts:
                    self._fail(self._failure(spec, code, output))
                    return
                if time.monotonic() - started > HEALTHY_SECONDS:
                    pause = MIN_RESTART_PAUSE
                self._terminal.say(
                    f"{spec.name} ended {how_it_ended(code)} and restarts in {pause:.0f} s. "
                    f"Last output: {output.error_line()} (more in {output.path})"
                )
                if await self._stopped_within(pause):
                    return
                pause = min(pause * 2, MAX_RESTART_PAUSE)

    async def _once(self, spec: Spec, output: Output) -> int:
        try:
            environ = environment_of(spec.name, self._environ)
            process = await Process.start(spec.command, environ, self._folder, output)
        except OSError as error:
            output.feed(f"ERROR: {error}\n".encode())
            return NOT_STARTED
        self._running[spec] = process
        if self._stopping.is_set():
            process.terminate()
        try:
            return await process.ended()
        finally:
            del self._running[spec]

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _output(self, spec: Spec) -> Output:
        return Output(spec.name, self._logs, self._terminal, hidden=spec.hidden)

    def _fail(self, error: LaunchError) -> None:
        self._error = self._error or error
        self._failed.set()

    def _failure(self, spec: Spec, code: int, output: Output) -> LaunchError:
        return LaunchError(f"{spec.name} ended {how_it_ended(code)}: {output.error_line()} (more in {output.path})")
