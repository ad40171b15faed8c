"""The missing parts that `make run` names are those of `/readyz`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.servers import free_port
from webapp.launcher import probes


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """A server that gives every client the same answer; yields its port."""

    async def answer_it(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer_it, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n{}", {}),
        (
            b'HTTP/1.1 503 Service Unavailable\r\n\r\n{"checks": {"database": "ok", "beat": "none is the leader"}}',
            {"beat": "none is the leader"},
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n<html>", {"web": "/readyz answered 503"}),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", {"web": "/readyz answered 404"}),
        (b"", {"web": "/readyz answered nothing"}),
    ],
)
def test_answers_of_readyz(answer: bytes, missing: dict[str, str]) -> None:
    async def ask() -> dict[str, str]:
        async with answering(answer) as port:
            return await probes.missing("127.0.0.1", port)

    assert asyncio.run(ask()) == missing


def test_probe_without_a_server_fails() -> None:
    port = free_port()
    assert asyncio.run(probes.missing("127.0.0.1", port)) == {"web": "no answer"}
    assert not asyncio.run(probes.valkey_answers(port, "x"))
    assert not asyncio.run(probes.smtp_answers(port))
