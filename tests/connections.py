"""Connections to Redis that a test opened, so that none outlives it.

A client that is forgotten closes its connections only when the garbage is collected, and a socket that is collected
before its client fails whatever test runs just then.
"""

from __future__ import annotations

from functools import wraps
from typing import Any
from weakref import WeakSet

from redis.connection import AbstractConnection

_opened: WeakSet[AbstractConnection] = WeakSet()
_connect = AbstractConnection.connect


@wraps(_connect)
def _noted(self: AbstractConnection, *given: Any, **named: Any) -> Any:
    _opened.add(self)
    return _connect(self, *given, **named)


AbstractConnection.connect = _noted


def close() -> None:
    """Close every connection that this process has open; one that is used again connects anew."""
    for connection in list(_opened):
        connection.disconnect()
