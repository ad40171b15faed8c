"""Measures live pages: 500 streams on one web process, what a page costs meanwhile, how soon a change is on its page.

Run as `python -m bench.streams [--streams N] [--seconds N] [--database sqlite|postgresql]`. The web process is gunicorn
as the Procfile starts it, with a recorder beside it. Changes are appended to the Redis stream as by workers; each
listener fetches its partial when it gets `news`, as a page does, and a change has arrived when the partial shows it.
Nineteen listeners in twenty watch a run of their own, the others the list. The bars are a 95th percentile of 100 ms for
a page and of 300 ms for a change.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import uuid
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter

import psutil
import redis
import redis.asyncio
import sqlalchemy as sa

from beatdesk.execution.events import STREAM, STREAM_LENGTH, Entry, Event
from bench.listeners import Browser, Listener, people
from tests import processes, servers
from webapp import create_app
from webapp.config import Settings
from webapp.database.engine import create_engine, now
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

PAGE_BAR = 100.0
CHANGE_BAR = 300.0
STREAMS_PER_PERSON = 5
CHANGES_PER_SECOND = 5.0
# One change in so many is one of state, which lists show too; the others are progress.
STATE_EVERY = 5
PAGES_PER_SECOND = 10.0
SETTLE = 3.0


@dataclass
class Measured:
    """Milliseconds: of pages without streams, beside quiet ones, and while runs change; of changes until they show."""

    alone: list[float] = field(default_factory=list)
    quiet: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    lost: int = 0
    readers: int = 0
    # Of one core, while runs change.
    cpu: float = 0.0


def main() -> None:
    """Start everything, measure, print; fails above a bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "valkey").mkdir()
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        made = servers.Databases(folder, lambda: stack.enter_context(servers.postgres()))
        settings = servers.settings(getattr(made, options.database)(), valkey, data=folder)
        ids = _runs(settings, options.streams)
        signed_in = people(create_app(settings), -(-options.streams // STREAMS_PER_PERSON))
        cookies = [signed_in[count // STREAMS_PER_PERSON] for count in range(options.streams)]
        stack.enter_context(processes.recorder(settings))
        port = servers.free_port()
        web = stack.enter_context(processes.running(_gunicorn(settings, port)))
        _wait_for_page(port)
        (process,) = psutil.Process(web.popen.pid).children()
        measured = asyncio.run(_measure(settings, port, process, list(zip(ids, cookies, strict=True)), options.seconds))
        memory = process.memory_info().rss / 2**20
    print(
        f"{options.database}, {options.streams} streams, {measured.readers} reader of Redis, {memory:.0f} MB,"
        f" {measured.cpu:.0%} of a core while runs change;"
        f" load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    slow = [
        _print("pages, no stream open", measured.alone, PAGE_BAR),
        _print("pages, streams quiet", measured.quiet, PAGE_BAR),
        _print(f"pages, {CHANGES_PER_SECOND:g} changes a second", measured.busy, PAGE_BAR),
        _print("a change until its page shows it", measured.changes, CHANGE_BAR),
    ]
    if measured.lost:
        sys.exit(f"{measured.lost} changes did not reach their page")
    if any(slow):
        sys.exit("above the bar")


def _runs(settings: Settings, count: int) -> list[str]:
    """A started run for each listener, and some that have ended."""
    engine = create_engine(settings.database_url)
    ids = [str(uuid.uuid4()) for _ in range(count)]
    rows = [{"id": one, "task": "add", "state": RunState.STARTED, "started_at": now()} for one in ids]
    ended = [
        {"id": str(uuid.uuid4()), "task": "add", "state": RunState.SUCCEEDED, "ended_at": now()} for _ in range(2_000)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(Run), ended)
        connection.execute(sa.insert(Run), rows)
    engine.dispose()
    return ids


def _gunicorn(settings: Settings, port: int) -> processes.Process:
    command = ["gunicorn", "--config", "python:webapp.gunicorn", "wsgi:app"]
    return processes.Process(settings, "web", command, PORT=str(port), WEB_CONCURRENCY="1")


async def _measure(
    settings: Settings, port: int, process: psutil.Process, watched: list[tuple[str, str]], seconds: float
) -> Measured:
    measured = Measured()
    browser = Browser(port, watched[0][1])
    paths = ["/", "/runs", f"/runs/{watched[0][0]}", "/schedules", "/workers"]
    for path in paths:
        await browser.get(path)
    await _pages(browser, paths, seconds / 2, measured.alone)
    listeners = [
        Listener(port, cookie, "" if count % 20 == 0 else run_id) for count, (run_id, cookie) in enumerate(watched)
    ]
    listening = [asyncio.create_task(listener.listen()) for listener in listeners]
    await asyncio.gather(*(listener.ready.wait() for listener in listeners))
    await asyncio.sleep(SETTLE)
    await _pages(browser, paths, seconds / 2, measured.quiet)
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        measured.readers = sum(one["cmd"] == "xread" for one in client.client_list())
    changing = asyncio.create_task(_change(settings, [one for one in listeners if one.run_id], seconds, measured))
    before, began = process.cpu_times(), monotonic()
    await _pages(browser, paths, seconds, measured.busy)
    await changing
    after = process.cpu_times()
    measured.cpu = (after.user + after.system - before.user - before.system) / (monotonic() - began)
    for task in listening:
        task.cancel()
    await asyncio.gather(*listening, return_exceptions=True)
    return measured


def _wait_for_page(port: int) -> None:
    def served() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError), closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False

    servers.wait_for(served, seconds=30, message="gunicorn did not come up")


async def _pages(browser: Browser, paths: list[str], seconds: float, taken: list[float]) -> None:
    """Ask for pages at a steady pace, however long one takes."""
    until = monotonic() + seconds

    async def one(path: str) -> None:
        began = perf_counter()
        await browser.get(path)
        taken.append((perf_counter() - began) * 1000)

    asking: list[asyncio.Task[None]] = []
    while monotonic() < until:
        asking.append(asyncio.create_task(one(paths[len(asking) % len(paths)])))
        await asyncio.sleep(1 / PAGES_PER_SECOND)
    await asyncio.gather(*asking)


async def _change(settings: Settings, listeners: list[Listener], seconds: float, measured: Measured) -> None:
    """Report progress of one run after the other, at random, and wait until its page shows it."""
    client = redis.asyncio.Redis.from_url(settings.redis_url)
    until, count, waiting = monotonic() + seconds, 0, []

    async def one(listener: Listener, number: int) -> None:
        text = f"step-{number}-of-many"
        shown = listener.expect(text)
        began = perf_counter()
        if number % STATE_EVERY:
            payload = json.dumps({"done": number, "total": 1_000_000, "text": text})
            entry = Entry(listener.run_id, Event.PROGRESS, 0, now(), text=payload)
        else:
            entry = Entry(listener.run_id, Event.RETRYING, 0, now(), text=text)
        await client.xadd(STREAM, dict(entry.fields()), maxlen=STREAM_LENGTH, approximate=True)
        try:
            await asyncio.wait_for(shown, 10)
        except TimeoutError:
            measured.lost += 1
        else:
            measured.changes.append((perf_counter() - began) * 1000)

    while monotonic() < until:
        count += 1
        free = [listener for listener in listeners if not listener.expects]
        waiting.append(asyncio.create_task(one(random.choice(free), count)))
        await asyncio.sleep(random.expovariate(CHANGES_PER_SECOND))
    await asyncio.gather(*waiting)
    await client.aclose()


def _print(what: str, taken: list[float], bar: float) -> bool:
    p95 = statistics.quantiles(taken, n=20)[-1]
    above = p95 > bar
    print(
        f"{what:36} {len(taken):5} times   median {statistics.median(taken):6.1f} ms   p95 {p95:6.1f} ms"
        f"   most {max(taken):6.1f} ms   (bar {bar:.0f} ms){'   ABOVE' if above else ''}"
    )
    return above


if __name__ == "__main__":
    main()
