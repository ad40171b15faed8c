"""A proxy in front of a server that can cut, refuse and block connections: outages without stopping the server."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from tests.servers import free_port

HOST = "127.0.0.1"


class Way(Enum):
    """The modes of the proxy."""

    OPEN = "forwards both ways"
    CLOSED = "refuses; those that were there are cut"
    SILENT = "accepts and reads nothing, as a server that hangs"


class Proxy:
    """Forwards a port of its own to a server's. Everything happens in one thread."""

    def __init__(self, target: int | str) -> None:
        self.port = free_port()
        self._target = target
        self._way = Way.CLOSED
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._peers: dict[socket.socket, socket.socket | None] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def open(self) -> None:
        """Forward; connections that were kept waiting in silence are cut, so that clients connect again."""
        with self._lock:
            self._cut()
            self._listen()
            self._way = Way.OPEN

    def close(self) -> None:
        """Be away: cut every connection and refuse new ones."""
        with self._lock:
            self._way = Way.CLOSED
            if self._listener is not None:
                self._selector.unregister(self._listener)
                self._listener.close()
                self._listener = None
            self._cut()

    def block(self) -> None:
        """Hang: every connection stays and gets no answer; new ones are accepted and get none either."""
        with self._lock:
            self._listen()
            self._way = Way.SILENT

    def cut(self) -> None:
        """Cut every connection, and go on accepting new ones."""
        with self._lock:
            self._cut()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._thread.join(5)
        self.close()
        self._selector.close()

    def start(self) -> None:
        """Begin to forward."""
        self.open()
        self._thread.start()

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((HOST, self.port))
            self._listener.setblocking(False)
            self._selector.register(self._listener, selectors.EVENT_READ)

    def _cut(self) -> None:
        for one in list(self._peers):
            self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        for end in (one, self._peers.pop(one, None)):
            if end is not None:
                self._peers.pop(end, None)
                with suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                end.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(0.02):
                with self._lock:
                    self._serve(key.fileobj)  # type: ignore[arg-type]  # only sockets are registered
            if self._way is Way.SILENT:
                # What waits to be forwarded stays readable.
                self._stopping.wait(0.02)

    def _serve(self, one: socket.socket) -> None:
        if one is self._listener:
            self._accept()
        elif one in self._peers and self._way is Way.OPEN:
            self._forward(one)

    def _accept(self) -> None:
        assert self._listener is not None
        with suppress(OSError):
            client, _ = self._listener.accept()
            if self._way is Way.SILENT:
                self._peers[client] = None
                return
            try:
                server = self._connect()
            except OSError:
                client.close()
                return
            for end, other in ((client, server), (server, client)):
                self._peers[end] = other
                self._selector.register(end, selectors.EVENT_READ)

    def _connect(self) -> socket.socket:
        if isinstance(self._target, int):
            return socket.create_connection((HOST, self._target))
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def _forward(self, one: socket.socket) -> None:
        other = self._peers[one]
        try:
            data = one.recv(65536)
            if data and other is not None:
                other.sendall(data)
                return
        except OSError:
            pass
        self._drop(one)


@contextmanager
def proxy(target: int | str) -> Iterator[Proxy]:
    """A proxy to a port of this machine, or to a socket's path; it ends with the block."""
    made = Proxy(target)
    made.start()
    try:
        yield made
    finally:
        made.stop()
