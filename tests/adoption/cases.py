"""The cases that are tried: projects with a Celery, a broker and a pool, and what is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

from tests import valkey
from tests.adoption.environments import ENVIRONMENTS
from tests.adoption.shapes import CONCURRENCY, SHAPES
from tests.rabbitmq import RabbitMQ, url


class Case(NamedTuple):
    """What is tried: a project with a Celery, a broker and a pool, and what is killed."""

    project: str
    environment: str
    broker: str
    pool: str
    killed: str

    def __str__(self) -> str:
        return "-".join(self)


def slots(case: Case) -> int:
    """How many tasks its worker executes at a time."""
    return 1 if case.pool == "solo" else CONCURRENCY


@dataclass
class Broker:
    """A broker's address, and how it is killed and comes back."""

    url: str
    kill: Callable[[], None] | None = None
    come_back: Callable[[], None] | None = None


@contextmanager
def valkey_broker(folder: Path) -> Iterator[Broker]:
    """A Redis broker of its own, with its append-only file on."""
    folder.mkdir(parents=True, exist_ok=True)
    with valkey.running(folder) as server:
        yield Broker(server.url, server.kill, server.come_back)


@contextmanager
def rabbitmq_broker(folder: Path) -> Iterator[Broker]:
    """A RabbitMQ of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with RabbitMQ.running(folder) as server:
        yield Broker(url(server.port), server.kill, server.start)


BROKERS = {"redis": valkey_broker, "rabbitmq": rabbitmq_broker}


POOLS, KILLED = ("prefork", "threads", "solo", "gevent"), ("worker", "broker", "beatdesk")
ALL = [Case(*each) for each in product(SHAPES, ENVIRONMENTS, BROKERS, POOLS, KILLED)]


def pairs(case: Case) -> set[tuple[tuple[str, str], ...]]:
    """The pairs of values that a case tries together."""
    return set(combinations(zip(case._fields, case, strict=True), 2))


def choose(count: int, cases: Sequence[Case] = ALL) -> list[Case]:
    """So many cases that try as many pairs as possible; the same ones each time."""
    chosen: list[Case] = []
    tried: set[tuple[tuple[str, str], ...]] = set()
    while len(chosen) < count:
        left = [case for case in cases if case not in chosen]
        chosen.append(max(left, key=lambda case: len(pairs(case) - tried)))
        tried |= pairs(chosen[-1])
    return chosen
