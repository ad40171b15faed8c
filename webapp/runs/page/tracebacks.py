"""Shortened tracebacks: the frames of the project's own code, without those of libraries. Pure functions."""

from __future__ import annotations

import re

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
# Parts of the paths of libraries, of Python itself, and of the code that calls every task.
_OTHERS = (
    "site-packages",
    "dist-packages",
    "/lib/python",
    "<frozen ",
    "beatdesk/execution/run_task.py",
    "beatdesk/execution/tracing.py",
    # The former paths of these two, for older tracebacks.
    "webapp/runs/execution.py",
    "webapp/runs/tracing.py",
)


def is_ours(file: str) -> bool:
    """Whether a frame's file is the application's own."""
    return not any(part in file for part in _OTHERS)


def shortened(traceback: str) -> str | None:
    """The traceback with only the frames of the project's own code; None if it has only those, or none of them."""
    kept: list[str] = []
    ours = others = 0
    keeping = True
    for line in traceback.splitlines():
        frame = _FRAME.match(line)
        if frame:
            keeping = is_ours(frame["file"])
            ours, others = ours + keeping, others + (not keeping)
        elif not line.startswith("    "):
            # The exception, or a remark between two of them, rather than a line of source below a frame.
            keeping = True
        if keeping:
            kept.append(line)
    return "\n".join(kept) if ours and others else None


def place(traceback: str) -> str:
    """The last frame that is not of a library: "orders.py:12 in ship"; empty without a traceback."""
    frames = [match.groupdict() for match in _FRAME.finditer(traceback)]
    if not frames:
        return ""
    chosen = ([frame for frame in frames if is_ours(frame["file"])] or frames)[-1]
    return f"{chosen['file'].rsplit('/', 1)[-1]}:{chosen['line']} in {chosen['function']}"
