"""The plan of a start, from the settings: a server for which none is configured is embedded."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from webapp.config import ConfigError, Settings, given_settings, variable
from webapp.launcher.errors import LaunchError
from webapp.launcher.folder import DataFolder
from webapp.launcher.valkey import Valkey
from webapp.web import installed

ADMIN_EMAIL = "admin@example.com"
# Read by the command `celery worker`, as the default of `--pool`.
POOL = "CELERY_WORKER_POOL"
MAIL_DETAILS = ("MAIL_PORT", "MAIL_USERNAME", "MAIL_PASSWORD", "MAIL_USE_TLS", "MAIL_USE_SSL", "MAIL_CA_FILE")


@dataclass(frozen=True, slots=True)
class Sink:
    """The embedded SMTP server."""

    port: int
    mailbox: Path

    def command(self) -> list[str]:
        """The command that runs it."""
        module = "webapp.launcher.sink"
        return [sys.executable, "-m", module, "--port", str(self.port), "--mailbox", str(self.mailbox)]


@dataclass(frozen=True, slots=True)
class SignIn:
    """The sign-in of the first admin.

    `password` is set only if the launcher generated it, `new` if that was in this start; `file` has it.
    """

    email: str
    password: str | None = field(default=None, repr=False)
    new: bool = False
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings and embedded servers of a start. Each process gets a part of `environ`."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    sign_in: SignIn
    valkey: Valkey | None = None
    sink: Sink | None = None


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings, checked; the secret key may still be missing. Raises ConfigError."""
    given = given_settings(environ)
    settings = Settings.from_env({"SECRET_KEY": secrets.token_urlsafe(32), **given})
    if "MAIL_DEFAULT_SENDER" in given:
        # Imported only here, because the import is slow.
        from webapp.mail.gateway import read_sender

        read_sender(settings.mail.sender)
    if "MAIL_SERVER" not in given:
        for name in MAIL_DETAILS:
            if name in given:
                raise ConfigError(
                    f"{name} is set but MAIL_SERVER is not. Set both, or neither to keep mail in a local mailbox."
                )
    return settings


def with_pool(environ: Mapping[str, str], settings: Settings) -> Mapping[str, str]:
    """The environment with the worker's pool: `solo` beside a project whose own workers execute its tasks.

    Ours has only emails and cleanups to do then. A broker on Redis may be the same server as REDIS_URL.
    """
    beside = "CELERY_BROKER_URL" in given_settings(environ) and not settings.task_modules
    return {POOL: "solo", **environ} if beside else environ


def make_plan(environ: Mapping[str, str], folder: DataFolder) -> Plan:
    """Decide which servers are embedded, and complete the environment. Raises ConfigError.

    Settings are added under the names that win, so that a task's code finds its own DATABASE_URL as it was.
    """
    given = given_settings(environ)
    ports = _free_ports(2)
    made = {**given, "BEATDESK_DATA": str(folder.path)}
    valkey = sink = None
    if "SECRET_KEY" not in given:
        made["SECRET_KEY"], _ = folder.kept_secret("secret_key", 48)
    if "REDIS_URL" not in given:
        valkey = Valkey(folder.subfolder("valkey"), ports[0], secrets.token_urlsafe(24))
        made["REDIS_URL"] = valkey.url
    if "MAIL_SERVER" not in given:
        sink = Sink(ports[1], folder.subfolder("mailbox"))
        made |= {"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": str(sink.port), "BEATDESK_MAILBOX": str(sink.mailbox)}
        made.setdefault("CONFIRM_ADDRESSES", "0")
    sign_in = SignIn(given.get("ADMIN_EMAIL", ADMIN_EMAIL))
    if "ADMIN_PASSWORD" not in given:
        password, new = folder.kept_secret("admin_password", 12)
        sign_in = SignIn(sign_in.email, password, new, folder.path / "admin_password")
        made["ADMIN_PASSWORD"] = password
    made["ADMIN_EMAIL"] = sign_in.email
    settings = Settings.from_env(made)
    # Explicit, so that all processes have the same values in any working folder.
    made |= {
        "DATABASE_URL": settings.database_url,
        "CELERY_BROKER_URL": settings.broker_url,
        "CELERY_RESULT_BACKEND": settings.result_backend,
        "HOST": settings.host,
        "PORT": str(settings.port),
    }
    handed_on = {
        **environ,
        **{variable(name): value for name, value in made.items()},
        "PYTHONUNBUFFERED": "1",
        # The programs of the Procfile are those of this virtual environment.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH") or os.defpath]),
    }
    return Plan(settings, handed_on, sign_in, valkey, sink)


def require_free(host: str, port: int) -> None:
    """Check that the pages can be served at that address. Raises LaunchError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as listener:
            # As the web server does: connections that have just been closed do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LaunchError(
                f"Port {port} is in use by another program. Stop it, or choose a free port, "
                f"for example PORT={_free_ports(1)[0]} {installed.command('run')}"
            ) from error
        if error.errno == errno.EACCES:
            raise LaunchError(f"Port {port} needs root privileges. Set PORT to a port above 1023.") from error
        raise LaunchError(f"HOST must be an address of this machine, not {host!r} ({error.strerror}).") from error


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(opened.getsockname()[1]) for opened in sockets]
