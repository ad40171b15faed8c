"""A real RabbitMQ for this test run: Debian's package, separate from the machine's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import end_group, start_program
from tests.servers import free_port, wait_for
from webapp.launcher.bootstrap import RABBITMQ


class RabbitMQ:
    """A server with the user guest, on a free port; `kill` and `start` are a crash and what comes after it.

    It takes about five seconds to start.
    """

    def __init__(self, folder: Path) -> None:
        self.port, epmd_port = free_port(), free_port()
        self.log = folder / "output.txt"
        self.environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "HOME": str(folder),
            # Its own name service: the machine's would know it afterwards, and stay behind if we started it.
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_LOGS": "-",
            # One scheduler that does not spin: the machine is shared with the rest of the tests.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        (folder / "plugins").write_text("[].\n")
        self.command = ["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"]
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self.log.open("wb") as output:
            server = self._server = start_program([str(RABBITMQ)], self.environment, output)

        def answers() -> bool:
            if server.poll() is not None:
                raise AssertionError(f"RabbitMQ ended: {self.log.read_text()[-2000:]}")
            return "Server startup complete" in self.log.read_text(errors="replace")

        wait_for(answers, seconds=60, message="RabbitMQ was not ready")

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._server is not None:
            end_group(self._server)

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator[RabbitMQ]:
        """A server that ends with the block."""
        server = cls(folder)
        with _running(server.command, server.environment):
            try:
                server.start()
                yield server
            finally:
                server.kill()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """A server that ends with the block; yields its port."""
    with RabbitMQ.running(folder) as server:
        yield server.port


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = start_program(command, environment, subprocess.DEVNULL)
    try:
        yield process
    finally:
        end_group(process)


def url(port: int, host: str = "/") -> str:
    """The address of one of its virtual hosts."""
    return f"amqp://guest:guest@127.0.0.1:{port}/{host}"
