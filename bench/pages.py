"""Measures the server time of the pages of lists, with a million runs and 100,000 schedules kept.

Run as `python -m bench.pages [--runs N] [--rounds N] [--database sqlite|postgresql|URL] [--only TEXT]`. A URL must name
a migrated database that was filled before; it is left as it is. Prints the median and the 95th percentile in
milliseconds of each page, as an admin who is signed in gets it, and of the CPU time that this process and PostgreSQL's
spent on it, which other programs on the machine do not lengthen. Statements run in one process each, without parallel
workers, whose time would not be counted. The bar is a 95th percentile of 50 ms.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter, process_time
from urllib.parse import quote

import sqlalchemy as sa
from flask import Flask

from bench import seed
from bench.backends import Backends
from tests import servers
from tests.visitors import Visitor
from webapp import create_app
from webapp.database.engine import create_engine
from webapp.extensions import db
from webapp.identity.models import User
from webapp.launcher.memory import without_garbage_collection
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.status import Status
from webapp.schedules.list.ordering import DIRECTIONS, ORDERS

BAR = 50.0
SEARCHES = (
    "task:add", "state:failed", "schedule:#11", '"schedule 11"', "worker:worker3", "worker:nobody", "queue:mail",
    "id:abcd", "args.user:5", "args.num1:5", "runtime:>10s", "runtime:>900s", "since:2h", "shop", "nothing-like-it",
    "task:add state:failed since:12h", "task:re* nothing-like-it",
)  # fmt: skip
SCHEDULE_SEARCHES = ("schedule 77", "branch", "nothing-like-it", "zq", "office", "ÖDE")
ADMINS = ("/people?search=", "/audit?actor=", "/audit?object=")


def main() -> None:
    """Fill a database, ask for each page, print the figures; fails when one is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--database", default="sqlite")
    parser.add_argument("--only", default="", help="only the pages with this in their address")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(_database(options.database, folder, options.runs))
        (folder / "valkey").mkdir()
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        with without_garbage_collection():
            app = create_app(servers.settings(url, valkey, data=folder))
        with app.app_context():
            backends = Backends(db.engine)
        visitor, paths = Visitor(app, "admin"), _paths(app)
        slow = [
            path for path in paths if options.only in path and _measure(visitor, backends, path, options.rounds) > BAR
        ]
        _forget(app)
    if slow:
        sys.exit(f"above {BAR:.0f} ms: {', '.join(slow)}")


@contextmanager
def _database(name: str, folder: Path, runs: int) -> Iterator[str]:
    if ":" in name:
        yield name
        return
    with ExitStack() as stack:
        made = servers.Databases(folder, lambda: stack.enter_context(servers.postgres()))
        url: str = getattr(made, name)()
        engine = create_engine(url)
        began = perf_counter()
        seed.fill(engine, runs, runs // 10)
        engine.dispose()
        print(f"{name}: {runs:,} runs and {runs // 10:,} schedules written in {perf_counter() - began:.0f} s")
        yield url


def _forget(app: Flask) -> None:
    """Leave no visitor in a database that is kept, and no connection open."""
    with app.app_context():
        db.session.execute(sa.delete(User).where(User.email == "admin@example.org"))
        db.session.commit()
        db.session.remove()
        db.engine.dispose()


def _paths(app: Flask) -> list[str]:
    paths = ["/runs", *(f"/runs?state={state}" for state in RunState), *(f"/runs?q={quote(q)}" for q in SEARCHES)]
    with app.app_context():
        newest = sa.select(Run.id).order_by(Run.created_at.desc()).limit(1)
        paths += [f"/runs/{db.session.scalar(newest.where(Run.state == state))}" for state in ("failed", "started")]
        db.session.remove()
    paths += ["/", "/runs/new?task=add", "/workers", "/queues", *_schedule_paths()]
    return [*paths, *(f"{path}{quote(q)}" for path in ADMINS for q in ("", "person77", "nothing-like-it"))]


def _schedule_paths() -> list[str]:
    """The list of schedules: each filter, search and order, alone and some together."""
    filters = [f"q={quote(q)}" for q in SCHEDULE_SEARCHES]
    filters += [f"status={quote(status)}" for status in Status]
    filters += ["kind=crontab", "kind=solar", "task=add", "task=gone", "tag=nightly", "tag=nobody", "owner=code"]
    orders = [f"sort={sort}&direction={direction}" for sort in ORDERS for direction in DIRECTIONS]
    together = [f"{order}&{some}" for order in orders for some in ("q=branch", "q=nothing-like-it", "status=broken")]
    return ["/schedules", *(f"/schedules?{one}" for one in [*filters, *orders, *together])]


def _measure(visitor: Visitor, backends: Backends, path: str, rounds: int) -> float:
    """The 95th percentile of the CPU time in milliseconds, after one round that is shown by itself."""
    taken = [_ask(visitor, backends, path) for _ in range(rounds + 1)]
    first, taken = taken[0], taken[1:]
    wall, cpu, server = (statistics.quantiles(values, n=20)[-1] for values in zip(*taken, strict=True))
    median = statistics.median(one[1] for one in taken)
    print(
        f"{path:52} wall p95 {wall:6.1f}   CPU first {first[1]:6.1f}   median {median:6.1f}   p95 {cpu:6.1f}"
        f"   PostgreSQL's {server:6.1f}{'   ABOVE' if cpu > BAR else ''}",
        flush=True,
    )
    return float(cpu)


def _ask(visitor: Visitor, backends: Backends, path: str) -> tuple[float, float, float]:
    """Milliseconds by the clock, of CPU in all, and of PostgreSQL's CPU."""
    began, busy, served = perf_counter(), process_time(), backends.seconds()
    answer = visitor.get(path)
    if answer.status_code != 200:
        raise SystemExit(f"{path}: {answer.status}")
    own, server = process_time() - busy, backends.seconds() - served
    return (perf_counter() - began) * 1000, (own + server) * 1000, server * 1000


if __name__ == "__main__":
    main()
