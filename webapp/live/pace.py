"""How often a stream may say that there is news."""

from __future__ import annotations

# Seconds between two in the long run, and how many may follow each other at once: the few changes of a short run reach
# its page as they happen, and a burst of thousands costs two fetches a second.
NEWS_INTERVAL = 0.5
BURST = 3
# Of many who watch the same thing each is told so many seconds after the other, so that they do not all fetch at once.
STAGGER_SECONDS = 0.05
# Fetches a second by all who watch the same thing together, in the long run; the list of runs costs 20 ms of a core.
MAX_FETCHES_PER_SECOND = 5


class Pace:
    """A bucket of `BURST` tokens that fills by one each `interval` seconds. Times are of one monotonic clock.

    Where so many watch that the interval is longer, the bucket holds one.
    """

    def __init__(self, now: float) -> None:
        self.interval = NEWS_INTERVAL
        self._tokens = float(BURST)
        self._at = now

    def ready_at(self, now: float) -> float:
        """From when on the next one may be told."""
        self._fill(now)
        return now if self._tokens >= 1 else now + (1 - self._tokens) * self.interval

    def take(self, now: float) -> None:
        """One is told."""
        self._fill(now)
        self._tokens -= 1

    def _fill(self, now: float) -> None:
        most = BURST if self.interval <= NEWS_INTERVAL else 1
        self._tokens = min(most, self._tokens + (now - self._at) / self.interval)
        self._at = now


def interval_for(watchers: int) -> float:
    """Seconds between two tellings where so many watch the same."""
    return max(NEWS_INTERVAL, watchers / MAX_FETCHES_PER_SECOND)
