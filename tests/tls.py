"""TLS in front of a server without it, like stunnel."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.transport.abort()


@contextmanager
def in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port of this machine that speaks TLS, in front of one that does not; it ends with the block."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = writer.transport
        try:
            # Not by the server's option: it would keep connections whose handshake fails out of our reach.
            await writer.start_tls(context)
            from_server, to_server = await asyncio.open_connection(HOST, port)
            await asyncio.gather(_forward(reader, to_server), _forward(from_server, writer))
        except OSError:
            pass  # Refused certificates are what some tests are about.
        finally:
            raw.abort()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(serve, HOST, 0))
    thread = threading.Thread(target=loop.run_forever, name="tls", daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        server.close()
        loop.run_until_complete(_end_tasks())
        loop.close()


async def _end_tasks() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    # What was closed meanwhile is closed in the loop's next round.
    await asyncio.sleep(0)
