"""Rate limits of the event `news`: how often a stream sends it."""

from __future__ import annotations

# Seconds between two events in the long run, and how many may be sent at once: the few changes of a short run reach its
# page as they happen, and a burst of thousands costs two fetches a second.
NEWS_INTERVAL = 0.5
BURST = 3
# Seconds between the events of streams with the same topic, so that their pages do not all fetch at once.
STAGGER_SECONDS = 0.05
# For all pages with the same topic together, in the long run; the list of runs costs 20 ms of a core.
MAX_FETCHES_PER_SECOND = 5


class Pace:
    """A bucket of `BURST` tokens that gains one every `interval` seconds. Times are of one monotonic clock.

    With so many watchers that the interval is longer than usual, the bucket holds one.
    """

    def __init__(self, now: float) -> None:
        self.interval = NEWS_INTERVAL
        self._tokens = float(BURST)
        self._at = now

    def ready_at(self, now: float) -> float:
        """When the next event may be sent."""
        self._fill(now)
        return now if self._tokens >= 1 else now + (1 - self._tokens) * self.interval

    def take(self, now: float) -> None:
        """Use a token for an event that is sent."""
        self._fill(now)
        self._tokens -= 1

    def _fill(self, now: float) -> None:
        size = BURST if self.interval <= NEWS_INTERVAL else 1
        self._tokens = min(size, self._tokens + (now - self._at) / self.interval)
        self._at = now


def interval_for(watchers: int) -> float:
    """Seconds between two events of a stream whose topic has so many watchers."""
    return max(NEWS_INTERVAL, watchers / MAX_FETCHES_PER_SECOND)
