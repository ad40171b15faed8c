"""Noticing that a browser has left: nothing is written to a quiet stream, so nothing would fail."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from webapp.live.stream import Stream


def of_request(environ: Mapping[str, Any]) -> Any:
    """The socket behind a request, or None where the server does not say (the test client)."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def disconnected(streams: Iterable[Stream]) -> list[Stream]:
    """Those whose browser has closed the connection. One system call, however many."""
    poll = select.poll()
    by_number: dict[int, Stream] = {}
    left = []
    for stream in streams:
        if stream.connection is None:
            continue
        number = stream.connection.fileno()
        if number < 0:
            left.append(stream)
            continue
        by_number[number] = stream
        poll.register(number, select.POLLIN)
    for number, _ in poll.poll(0) if by_number else []:
        if _is_closed(by_number[number].connection):
            left.append(by_number[number])
    return left


def _is_closed(connection: Any) -> bool:
    """Whether what can be read is the end. Something else is a request that waits its turn."""
    # A TLS socket cannot be looked into; its end shows when the next sign of life is written.
    with suppress(ValueError):
        try:
            return not connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True
    return False
