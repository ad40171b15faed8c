"""The delay before the next attempt."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from webapp.mail.gateway import retry_delay


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 1), (2, 5), (3, 25), (4, 120), (5, 720)])
def test_each_wait_is_the_planned_one_with_jitter(attempt: int, minutes: int) -> None:
    rng = random.Random(1)
    waits = [retry_delay(attempt, rng) for _ in range(200)]
    plan = timedelta(minutes=minutes)
    assert all(wait is not None and plan * 0.8 <= wait <= plan * 1.2 for wait in waits)
    assert len(set(waits)) > 100


def test_after_the_last_attempt_there_is_none() -> None:
    assert retry_delay(6, random.Random(1)) is None
    assert retry_delay(99, random.Random(1)) is None


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        retry_delay(0, random.Random(1))
