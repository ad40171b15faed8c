"""Measures the cost of a crontab's next due time.

Run as `python bench/recurrence.py`. Prints the median, the 99th percentile and the maximum in microseconds over a
varied set of crontabs, zones and moments: for beat's fast path, for the full answer with its words, and for the first
answer of a new crontab. The bar is a median of 50 µs and a maximum of 5 ms.

A garbage collection or another process can take milliseconds, so each computation is repeated three times and the
fastest counts, and garbage is collected outside of the measured time; the raw maximum is printed beside it.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter_ns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from webapp.recurrence import Crontab, Recurrence, next_due, next_due_timestamp
from webapp.recurrence.cron import CompiledCrontab
from webapp.recurrence.fields import parse_field
from webapp.recurrence.zones import zone

LINES = (
    "* * * * *", "*/5 * * * *", "*/15 9-17 * * mon-fri", "0 * * * *", "30 2 * * *", "0 8 * * *", "0,30 1,2,3 * * *",
    "0 0 1 * *", "0 0 31 * *", "59 23 31 12 *", "0 0 29 2 *", "0 0 29 2 mon", "* * 29 2 sun", "*/30 2 * 3,10 sun",
    "0 12 13 * fri", "15 4 1-7 */3 tue", "1-59/7 */5 */9 * *", "0 0 31 jan,mar fri",
)  # fmt: skip
ZONES = (
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Santiago", "America/Havana",
    "Australia/Lord_Howe", "Pacific/Chatham", "Antarctica/Troll", "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca",
)  # fmt: skip
CHANGES = tuple(
    datetime.fromisoformat(text).timestamp()
    for text in (
        "2011-12-30T10:00Z", "2027-03-28T01:00Z", "2027-10-31T01:00Z", "2026-11-01T06:00Z", "2027-04-03T15:00Z",
        "2027-10-02T15:30Z", "2027-09-05T04:00Z", "2096-03-01T00:00Z", "2099-12-31T23:59Z",
    )
)  # fmt: skip
BAR_MEDIAN, BAR_MAXIMUM = 50.0, 5_000.0

Answer = Callable[[Recurrence, float], object]


def questions(each: int, chance: random.Random) -> list[tuple[Recurrence, float]]:
    """Return `each` moments for every pair of crontab and zone: half of them near a change of clocks."""
    asked = []
    for line in LINES:
        for name in ZONES:
            recurrence = Recurrence(Crontab.from_line(line), name)
            for number in range(each):
                moment = chance.uniform(1.6e9, 4.4e9)
                if number % 2:
                    moment = chance.choice(CHANGES) + chance.uniform(-10_800, 10_800)
                asked.append((recurrence, moment))
    chance.shuffle(asked)
    return asked


def measure(title: str, asked: list[tuple[Recurrence, float]], answer: Answer, bar: float = BAR_MEDIAN) -> bool:
    """Time each question, print one line, and return whether the bar is met."""
    fastest, raw_maximum = [], 0.0
    gc.collect()
    gc.disable()
    for recurrence, moment in asked:
        tries = []
        for _ in range(3):
            begin = perf_counter_ns()
            answer(recurrence, moment)
            tries.append((perf_counter_ns() - begin) / 1_000)
        fastest.append(min(tries))
        raw_maximum = max(raw_maximum, *tries)
    gc.enable()
    median, high, maximum = statistics.median(fastest), statistics.quantiles(fastest, n=100)[98], max(fastest)
    met = median <= bar and maximum <= BAR_MAXIMUM
    print(
        f"{title:<34} {len(asked):>6} asked  median {median:6.1f} µs  p99 {high:6.1f} µs  max {maximum:7.1f} µs"
        f"  (raw max {raw_maximum:7.1f} µs)  {'ok' if met else 'ABOVE THE BAR'}"
    )
    return met


def _compile_and_answer(recurrence: Recurrence, moment: float) -> object:
    rule = recurrence.rule
    assert isinstance(rule, Crontab)
    parse_field.cache_clear()
    return CompiledCrontab(rule, zone(recurrence.timezone)).next_after(int(moment))


def main() -> int:
    """Measure; return 1 when a figure is above the bar."""
    asked = questions(40, random.Random(7))
    met = [
        measure("next_due_timestamp (beat)", asked, next_due_timestamp),
        measure(
            "next_due (local time and note)",
            asked,
            lambda recurrence, moment: next_due(recurrence, datetime.fromtimestamp(0, UTC) + timedelta(seconds=moment)),
        ),
        # Paid once for each distinct crontab, so only the bar for the worst case is meant for it.
        measure("parse, then the first answer", asked, _compile_and_answer, bar=BAR_MAXIMUM),
    ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
