"""Tracebacks as people read them: the frames of their own code, without those of libraries. Pure functions."""

from __future__ import annotations

import re

_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
# Of libraries, of Python itself, and of what calls every task.
_OTHERS = (
    "site-packages",
    "dist-packages",
    "/lib/python",
    "<frozen ",
    "webapp/execution/run_task.py",
    "webapp/execution/tracing.py",
    # Where these two lay when older tracebacks were kept.
    "webapp/runs/execution.py",
    "webapp/runs/tracing.py",
)


def is_ours(file: str) -> bool:
    """Whether a frame's file is the application's own."""
    return not any(part in file for part in _OTHERS)


def shortened(traceback: str) -> str | None:
    """The traceback with the frames of the application's own code only; None where that leaves out none, or all."""
    kept: list[str] = []
    ours = others = 0
    keeping = True
    for line in traceback.splitlines():
        frame = _FRAME.match(line)
        if frame:
            keeping = is_ours(frame["file"])
            ours, others = ours + keeping, others + (not keeping)
        elif not line.startswith("    "):
            # No line of source below a frame: the exception, or a remark between two of them.
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
