"""Detects closed connections of browsers: on a quiet stream nothing is written that could fail."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Mapping
from typing import Any

from webapp.live.stream import Stream


def of_request(environ: Mapping[str, Any]) -> Any:
    """The socket of a request; None if the server does not expose it, as in tests."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def disconnected(streams: Iterable[Stream]) -> list[Stream]:
    """The streams whose browser has closed the connection, by one system call for all."""
    poll = select.poll()
    by_number: dict[int, Stream] = {}
    closed = []
    for stream in streams:
        if stream.connection is None:
            continue
        number = stream.connection.fileno()
        if number < 0:
            closed.append(stream)
            continue
        by_number[number] = stream
        poll.register(number, select.POLLIN)
    for number, _ in poll.poll(0) if by_number else []:
        if _is_closed(by_number[number].connection):
            closed.append(by_number[number])
    return closed


def _is_closed(connection: Any) -> bool:
    """Whether the readable data is the end; otherwise it is the browser's next request."""
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True
    except ValueError:
        # A TLS socket cannot be peeked at; there the next keep-alive fails.
        return False
