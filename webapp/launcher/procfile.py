"""The Procfile: the command of each process, for a shell."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from honcho.environ import parse_procfile


def read_procfile(file: Path) -> Mapping[str, str]:
    """The command of each process by its name, in their order."""
    return dict(parse_procfile(file.read_text()).processes)


def shell_command(command: str, arguments: Sequence[str] = ()) -> tuple[str, ...]:
    """A command with further arguments, for a shell. A single program replaces the shell, so that signals reach it."""
    simple = not set(command) & set(";&|")
    return ("/bin/sh", "-c", " ".join([*["exec"] * simple, command, *map(shlex.quote, arguments)]))
