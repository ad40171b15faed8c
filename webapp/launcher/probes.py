"""Whether what was started answers. Each probe asks once and gives its answer within seconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

PROBE_TIMEOUT = 5.0
"""Seconds that one question may take."""

PROBE_INTERVAL = 0.1
"""Seconds between two questions."""


async def until(probe: Callable[[], Awaitable[bool]]) -> None:
    """Ask until the answer is yes."""
    while not await probe():
        await asyncio.sleep(PROBE_INTERVAL)


async def valkey_answers(port: int, password: str) -> bool:
    """Whether the server at that port of this machine has read its data and serves."""
    return await _answers(port, f"AUTH {password}\r\nPING\r\n", [b"+OK", b"+PONG"])


async def smtp_answers(port: int) -> bool:
    """Whether an SMTP server greets at that port of this machine."""
    return await _answers(port, "QUIT\r\n", [b"220 "])


async def _answers(port: int, question: str, beginnings: list[bytes]) -> bool:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(question.encode())
                return all([(await reader.readline()).startswith(beginning) for beginning in beginnings])
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def missing(host: str, port: int) -> dict[str, str]:
    """What is not there yet by what `/readyz` says, each with the reason; empty when all is there."""
    try:
        async with asyncio.timeout(PROBE_TIMEOUT):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                address = f"[{host}]" if ":" in host else host
                writer.write(f"GET /readyz HTTP/1.0\r\nHost: {address}:{port}\r\n\r\n".encode())
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            finally:
                writer.close()
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
