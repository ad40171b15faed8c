"""A browser's side of a stream, without the browser."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.visitors import Visitor

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name and its id."""

    name: str
    id: str


class Listener:
    """One open stream of a visitor, over a real socket."""

    def __init__(self, address: str, visitor: Visitor, path: str, *, since: str = "") -> None:
        cookie = visitor.client.get_cookie("beatdesk")
        assert cookie is not None
        self.connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=5)
        headers = {"Accept": EVENT_STREAM, "Cookie": f"beatdesk={cookie.value}"}
        if since:
            headers["Last-Event-ID"] = since
        self.connection.request("GET", path, headers=headers)
        self.answer = self.connection.getresponse()
        self.status = self.answer.status

    def next(self) -> Event:
        """The next event; fails when none comes within the time-out, or when the stream has ended."""
        given: dict[str, str] = {}
        while True:
            line = self.answer.readline().decode()
            assert line, "the stream has ended"
            if line == "\n":
                if "event" in given:
                    return Event(given["event"], given.get("id", ""))
                given = {}
            else:
                name, _, value = line.rstrip("\n").partition(":")
                given[name] = value.strip()

    def until(self, name: str, *, seconds: float = 5.0) -> Event:
        """The next event of that name, others passed over."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            event = self.next()
            if event.name == name:
                return event
        raise AssertionError(f"no {name} within {seconds} s")

    def at_end(self) -> bool:
        """Whether the server has ended the stream; reads what is left of it."""
        return self.answer.read() is not None

    def close(self) -> None:
        """Leave, as a closed tab does."""
        self.answer.close()
        self.connection.close()


@contextmanager
def listening(address: str, visitor: Visitor, path: str, *, since: str = "") -> Iterator[Listener]:
    """A stream that is open for the block."""
    listener = Listener(address, visitor, path, since=since)
    try:
        yield listener
    finally:
        listener.close()
