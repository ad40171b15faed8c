"""Beats and drivers as processes, each with all its children in a session of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bench.beats.targets import Target


class TrialError(Exception):
    """A scheduler could not be measured. The text is one line that says why."""


class Beat:
    """A beat process, just started."""

    def __init__(self, target: Target, environment: dict[str, str], folder: Path) -> None:
        self._start = (target, environment, folder)
        self._killed = False
        self.log = folder / "beat.log"
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                [str(target.python), "-m", *target.beat()],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def again(self) -> Beat:
        """Another one with the same settings."""
        return Beat(*self._start)

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.popen.poll() is not None

    def kill(self) -> None:
        """Send SIGKILL, as the kernel does without memory. Only once, because the pid may be reused."""
        if not self._killed:
            self._killed = True
            end(self.popen, signal.SIGKILL)


def end(popen: subprocess.Popen[Any], number: int = signal.SIGTERM) -> None:
    """End a process and its children: first so, then by SIGKILL."""
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, number)
    with suppress(subprocess.TimeoutExpired):
        popen.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait(10)


def drive(target: Target, command: str, environment: dict[str, str], folder: Path, seconds: float) -> str:
    """Run one of the driver's commands to its end; gives what it printed. Raises TrialError."""
    log = folder / f"{command}.log"
    with log.open("wb") as errors:
        popen = _driver(target, command, environment, folder, errors)
        try:
            output, _ = popen.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise TrialError(f"{command} took more than {seconds:.0f} s") from None
        finally:
            end(popen)
    if popen.returncode != 0:
        raise TrialError(f"{command} failed: {last_line(log)}")
    return str(output)


class Editor:
    """A process that edits schedules as the scheduler's documentation does, and says when each edit was committed."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def edit(self, name: str, every: float) -> float:
        """Give a schedule another interval; gives the time of the commit (epoch seconds)."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{name} {every}\n")
        self._popen.stdin.flush()
        return float(self._answer()["at"])

    def _answer(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise TrialError("the editor has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @classmethod
    @contextmanager
    def running(cls, target: Target, environment: dict[str, str], folder: Path) -> Iterator[Editor]:
        """An editor that is ready."""
        with (folder / "edits.log").open("wb") as errors:
            popen = _driver(target, "edits", environment, folder, errors)
            try:
                editor = cls(popen)
                editor._answer()
                yield editor
            finally:
                end(popen)


def _driver(
    target: Target, command: str, environment: dict[str, str], folder: Path, errors: IO[bytes]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(target.python), "-m", "bench.beats.driver", target.peer, command],
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )


def last_line(log: Path) -> str:
    """The last words of a process."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
