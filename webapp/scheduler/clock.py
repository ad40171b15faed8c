"""The clock that beat goes by.

All beats go by the database's clock, carried on between two readings by this machine's monotonic clock. So two beats
on machines whose clocks differ agree on what is due, and a step of a wall clock is seen as a step and not as hours that
passed. On SQLite the database's clock is this machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# A difference of more than this many seconds between what the monotonic clock says and what the reference says is a
# step: a clock was set, or the machine slept.
STEP_SECONDS = 0.5
# Differences up to this are noise of the measurement.
NOISE_SECONDS = 0.002


class Clock:
    """Seconds since 1970 in UTC, which go on evenly between two adjustments."""

    __slots__ = ("_mark", "_reference", "monotonic", "wall")

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._mark = monotonic()
        self._reference = wall()

    def now(self) -> float:
        """This moment, as epoch seconds."""
        return self._reference + (self.monotonic() - self._mark)

    def adjust(self, reference: float, at: float, uncertainty: float = 0.0) -> float:
        """Learn that the reference clock showed `reference` when the monotonic one showed `at`, give or take.

        Returns by how many seconds the clock was stepped, forward or back, or 0.0 when it only drifted.
        """
        difference = reference - (self._reference + (at - self._mark))
        if abs(difference) <= uncertainty + NOISE_SECONDS:
            return 0.0
        self._reference, self._mark = reference, at
        return difference if abs(difference) > STEP_SECONDS + uncertainty else 0.0
