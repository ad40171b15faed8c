"""A child process with all its descendants: started, its output read, and ended without remainders."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from webapp.launcher.output import Output

PR_SET_PDEATHSIG = 1  # from Linux's sys/prctl.h


class Process:
    """A command in a session of its own: the terminal's Ctrl-C reaches only the launcher, which stops it in order."""

    def __init__(self, child: asyncio.subprocess.Process, said: asyncio.StreamReader, output: Output) -> None:
        self._child = child
        self._said = said
        self._output = output

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str], folder: Path, output: Output) -> Process:
        """Start the command in that folder. Raises OSError if there is no such program."""
        # A pipe of our own: with asyncio's, a process does not end while a child of it has the pipe open.
        read, write = os.pipe()
        try:
            said = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(said)
            await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read, "rb", buffering=0))
            child = await asyncio.create_subprocess_exec(
                *command,
                env=environ,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                start_new_session=True,
                preexec_fn=_die_with_launcher(),
            )
        finally:
            os.close(write)
        return cls(child, said, output)

    async def ended(self) -> int:
        """Pass on its output until it has ended; then kill the processes that it left. Gives the exit code."""
        reading = asyncio.create_task(self._read())
        code = await self._child.wait()
        self.kill()
        await reading
        self._output.finish()
        return code

    def terminate(self) -> None:
        """Send SIGTERM to the process itself, which stops its own children."""
        with contextlib.suppress(ProcessLookupError):
            self._child.terminate()

    def kill(self) -> None:
        """Kill it and its process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)

    async def _read(self) -> None:
        while data := await self._said.read(65536):
            self._output.feed(data)


def how_it_ended(code: int) -> str:
    """In words: "with exit code 1", "by SIGKILL"."""
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _die_with_launcher() -> Callable[[], None] | None:
    """A function for the new process, which has the kernel kill it if the launcher is killed. Linux only."""
    if sys.platform != "linux":
        return None
    launcher = os.getpid()
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher:
            os._exit(1)  # it was killed before the call

    return ask
