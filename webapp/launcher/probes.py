"""Probes of started processes. Each asks once and returns within seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

PROBE_TIMEOUT = 5.0
"""Seconds that one probe may take."""

PROBE_INTERVAL = 0.1
"""Seconds between two probes."""


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    """Repeat a probe until it succeeds."""
    while not await probe():
        await asyncio.sleep(PROBE_INTERVAL)


async def valkey_answers(port: int, password: str) -> bool:
    """Whether the Valkey at that port of this machine has loaded its data and serves."""
    return await _answers(port, f"AUTH {password}\r\nPING\r\n", [b"+OK", b"+PONG"])


async def smtp_answers(port: int) -> bool:
    """Whether an SMTP server greets at that port of this machine."""
    return await _answers(port, "QUIT\r\n", [b"220 "])


@asynccontextmanager
async def _sending(host: str, port: int, text: str) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which a text was sent, for reading its answer. Raises OSError or TimeoutError."""
    async with asyncio.timeout(PROBE_TIMEOUT):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(text.encode())
            yield reader
        finally:
            writer.close()


async def _answers(port: int, question: str, beginnings: list[bytes]) -> bool:
    try:
        async with _sending("127.0.0.1", port, question) as reader:
            return all([(await reader.readline()).startswith(beginning) for beginning in beginnings])
    except (OSError, TimeoutError):
        return False


async def missing(host: str, port: int) -> dict[str, str]:
    """The parts that are not ready by `/readyz`, each with the reason; empty if all are."""
    address = f"[{host}]" if ":" in host else host
    try:
        async with _sending(host, port, f"GET /readyz HTTP/1.0\r\nHost: {address}:{port}\r\n\r\n") as reader:
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    except (OSError, TimeoutError):
        return {"web": "no answer"}
    status, _, _ = head.partition(b" ")[2].partition(b" ")
    return {} if status == b"200" else _reasons(status.decode(errors="replace"), body)


def _reasons(status: str, body: bytes) -> dict[str, str]:
    try:
        checks = json.loads(body)["checks"]
        found = {str(name): str(reason) for name, reason in checks.items() if reason != "ok"}
    except (ValueError, TypeError, KeyError, AttributeError):
        found = {}
    return found or {"web": f"/readyz answered {status or 'nothing'}"}
