"""Pages without browsers, hundreds in one process: their streams, and the partials that they fetch."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from asyncio import StreamReader
from typing import Any

from flask import Flask

from webapp.accounts.sessions import TOKEN, digest
from webapp.extensions import db
from webapp.identity.models import SignIn, User
from webapp.identity.roles import roles_named


def people(app: Flask, count: int) -> list[str]:
    """Create viewers who are signed in; gives their session cookies."""
    cookies: list[str] = []
    serializer: Any = app.session_interface.get_signing_serializer(app)  # type: ignore[attr-defined]  # cookie sessions have it
    with app.app_context():
        roles = list(roles_named(("viewer",)))
        for number in range(count):
            token, key = secrets.token_urlsafe(32), uuid.uuid4().hex
            email = f"viewer{number}@example.org"
            user = User(email=email, name="Viewer", password="none", fs_uniquifier=key, timezone="UTC", roles=roles)
            db.session.add(user)
            db.session.flush()
            db.session.add(SignIn(id=digest(token), user_id=user.id))
            cookies.append(serializer.dumps({"_user_id": key, "_fresh": True, TOKEN: token}))
        db.session.commit()
        db.session.remove()
        db.engine.dispose()
    return cookies


class Browser:
    """Asks for pages, each on a connection of its own."""

    def __init__(self, port: int, cookie: str) -> None:
        self.port = port
        self.cookie = cookie

    async def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        """Status, headers by their names in small letters, and text. Raises OSError, SystemExit for an error page."""
        reader, writer = await self._ask(path, {"Connection": "close", **headers})
        try:
            status, answered = await _head(reader)
            body = await (reader.read() if status != 304 else _nothing())
        finally:
            writer.close()
        if status >= 400:
            raise SystemExit(f"{path}: {status}")
        return status, answered, body.decode(errors="replace")

    async def events(self, path: str) -> tuple[StreamReader, asyncio.StreamWriter]:
        """An open stream, after its headers."""
        reader, writer = await self._ask(path, {"Accept": "text/event-stream"})
        status, _ = await _head(reader)
        if status != 200:
            raise SystemExit(f"{path}: {status}")
        return reader, writer

    async def _ask(self, path: str, headers: dict[str, str]) -> tuple[StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        given = {
            "Host": f"127.0.0.1:{self.port}",
            "Cookie": f"beatdesk={self.cookie}",
            "Accept": "text/html",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        return reader, writer


class Listener:
    """A page that is open: it fetches its partial when its stream has news, with what it had as `HX-PTag`.

    A `run_id` of "" is the list.
    """

    def __init__(self, port: int, cookie: str, run_id: str) -> None:
        self.run_id = run_id
        self.ready = asyncio.Event()
        self._browser = Browser(port, cookie)
        self._path = f"/runs/{run_id}" if run_id else "/runs"
        self._tag = ""
        self._expected: tuple[str, asyncio.Future[None]] | None = None

    @property
    def expects(self) -> bool:
        """Whether it waits for something to be shown."""
        return self._expected is not None

    def expect(self, text: str) -> asyncio.Future[None]:
        """Is done when the partial has shown this text."""
        shown = asyncio.get_running_loop().create_future()
        self._expected = (text, shown)
        return shown

    async def listen(self) -> None:
        """Until it is cancelled."""
        reader, writer = await self._browser.events(f"/live{self._path}")
        try:
            while line := await reader.readline():
                if line.strip() == b"event: news":
                    await self._fetch()
                    self.ready.set()
        finally:
            writer.close()

    async def _fetch(self) -> None:
        tag = {"HX-PTag": self._tag} if self._tag else {}
        _, headers, text = await self._browser.get(self._path, **{"HX-Request": "true", **tag})
        self._tag = headers.get("hx-ptag", "")
        if self._expected is not None and self._expected[0] in text:
            _, shown = self._expected
            self._expected = None
            if not shown.done():
                shown.set_result(None)


async def _head(reader: StreamReader) -> tuple[int, dict[str, str]]:
    status = int((await reader.readline()).split()[1])
    headers = {}
    while line := (await reader.readline()).decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


async def _nothing() -> bytes:
    return b""
