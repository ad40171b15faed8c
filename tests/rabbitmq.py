"""A real RabbitMQ for this test run: Debian's package, separate from the machine's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import end_group, start_program
from tests.servers import free_port, wait_for
from webapp.launcher.bootstrap import RABBITMQ


@contextmanager
def rabbitmq(folder: Path) -> Iterator[int]:
    """A server with the user guest; yields its port. Takes about five seconds to start."""
    port, epmd_port = free_port(), free_port()
    environment = {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "HOME": str(folder),
        # Its own name service: the machine's would know it afterwards, and stay behind if we started it.
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
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
    log = folder / "output.txt"
    with (
        log.open("wb") as output,
        _running(["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"], environment),
        _running([str(RABBITMQ)], environment, output) as server,
    ):

        def answers() -> bool:
            if server.poll() is not None:
                raise AssertionError(f"RabbitMQ ended: {log.read_text()[-2000:]}")
            return "Server startup complete" in log.read_text(errors="replace")

        wait_for(answers, seconds=60, message="RabbitMQ was not ready")
        yield port


@contextmanager
def _running(
    command: list[str], environment: dict[str, str], output: Any = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    process = start_program(command, environment, output)
    try:
        yield process
    finally:
        end_group(process)


def url(port: int, host: str = "/") -> str:
    """The address of one of its virtual hosts."""
    return f"amqp://guest:guest@127.0.0.1:{port}/{host}"
