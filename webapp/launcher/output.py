"""The output of processes: all of it goes to log files, warnings and errors also to the terminal."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from beatdesk.encoding import one_line

LEVEL = re.compile(r"\b(DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL|FATAL)\b")
SHOWN_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL", "FATAL"})
ERROR_LINE = re.compile(r"^(?:[\w.]*(?:Error|Exception|Exit)\b|.*\b(?:ERROR|CRITICAL|FATAL)\b|sh: )")
LOG_BYTES = 5 * 1024 * 1024
"""A log file of this size is rotated once, so a process keeps at most twice this."""

MAX_LINE_LENGTH = 2000
"""Characters of a line that the terminal shows."""


class Terminal:
    """The user's terminal. Results go to `out`, everything else to `err`."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, *, verbose: bool = False) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.verbose = verbose

    def announce(self, line: str) -> None:
        """Print the result, in bold."""
        bold = self._out.isatty()
        self._write(self._out, f"\033[1m{line}\033[0m" if bold else line)

    def say(self, line: str) -> None:
        """Print a message of the launcher."""
        self._write(self._err, line)

    def relay(self, name: str, line: str) -> None:
        """Print a line of a process."""
        self._write(self._err, f"{name:<8} | {line[:MAX_LINE_LENGTH]}")

    def _write(self, stream: TextIO, line: str) -> None:
        # A closed terminal or pipe must not stop the processes.
        with contextlib.suppress(OSError, ValueError):
            stream.write(f"{line}\n")
            stream.flush()


class Output:
    """One process's output. Warnings and errors, with the lines that belong to them, reach the terminal."""

    def __init__(self, name: str, folder: Path, terminal: Terminal, *, hidden: bool = False) -> None:
        self.name = name
        self.path = folder / f"{name}.log"
        self._file = RotatingFileHandler(self.path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
        self._terminal = terminal
        self._hidden = hidden
        self._rest = b""
        self._showing = False
        self._last: deque[str] = deque(maxlen=30)

    def feed(self, data: bytes) -> None:
        """Add the next bytes; complete lines are passed on at once."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def finish(self) -> None:
        """Pass on the last line after the end of the process; it may lack its line end."""
        if self._rest:
            self._line(self._rest)
        self._rest, self._showing = b"", False
        self._file.flush()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def last_lines(self) -> str:
        """The last thirty lines."""
        return "\n".join(self._last)

    def error_line(self) -> str:
        """The last line that looks like an error, else the last one."""
        lines = [line.strip() for line in self._last if line.strip()]
        errors = [line for line in lines if ERROR_LINE.match(line)]
        return (errors or lines or ["no output"])[-1]

    def _line(self, raw: bytes) -> None:
        # Control characters that a task prints must not reach the terminal.
        text = one_line(raw.decode(errors="replace").rstrip("\r"))
        self._last.append(text)
        self._file.emit(logging.makeLogRecord({"msg": text}))
        level = LEVEL.search(text[:200])
        if level:
            self._showing = level[1] in SHOWN_LEVELS
        if self._terminal.verbose or (self._showing and not self._hidden):
            self._terminal.relay(self.name, text)
