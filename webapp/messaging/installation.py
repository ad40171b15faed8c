"""The installation's id, and its mark on the servers that it uses: two installations must not take each other's runs.

The id is in the database, created with it. Each process compares it with the mark at its start, on each new connection,
and every few seconds, and sets a missing mark. If the mark is another installation's, nothing is recorded or sent, and
the process ends with one line that says what to do. A server that is away is checked when it is back.

- Redis (`REDIS_URL`, and the broker if it is another database): a key.
- RabbitMQ: an unused exchange whose argument is the id. RabbitMQ refuses its declaration with another argument.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import redis
import sqlalchemy as sa
from amqp.exceptions import ChannelError, PreconditionFailed
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, create_engine, read_only

logger = logging.getLogger(__name__)

KEY = "beatdesk:installation"
EXCHANGE = "beatdesk.installation"


class Installation(Base):
    """The one row of `installation`."""

    __tablename__ = "installation"

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)


class OtherInstallation(redis.RedisError):
    """A server belongs to another installation. A RedisError, so that it is handled like a Redis that is away."""


@dataclass
class _Process:
    """The state of this process: its database, the id in it, and why it has to end."""

    database_url: str | None = None
    id: str | None = None
    refused: str | None = None


_process = _Process()


def use(database_url: str) -> None:
    """Use the id in this database from now on, in this process."""
    _process.__init__(database_url)  # type: ignore[misc]  # resets the rest too


def refused() -> str | None:
    """The line with which this process has to end because a server belongs to another installation, or None."""
    return _process.refused


def own_id() -> str:
    """This installation's id. Raises redis.RedisError while the database does not answer."""
    if _process.id is None:
        if _process.database_url is None:
            raise redis.RedisError("no database was given to read the installation's ID from")
        engine = create_engine(_process.database_url)
        before = read_only.set(True)
        try:
            with engine.connect() as connection:
                _process.id = connection.execute(sa.select(Installation.id)).scalar_one()
        except sa.exc.SQLAlchemyError as error:
            raise redis.RedisError(f"not used until the database answers: {type(error).__name__}") from error
        finally:
            read_only.reset(before)
            engine.dispose()
    return _process.id


def on_connect(connection: Any) -> None:
    """Redis-py's own steps on a new connection, and a check of the database's owner. Raises OtherInstallation."""
    own = own_id()
    connection.on_connect()
    found = []
    for command in (("SET", KEY, own, "NX"), ("GET", KEY)):
        connection.send_command(*command)
        found.append(_reply(connection))
    _require_own_mark(found[-1], f"Redis at {connection.host}:{connection.port}, database {connection.db}")


def _reply(connection: Any) -> Any:
    # A server that is full or read-only refuses the mark, as it will refuse every other write.
    with suppress(redis.ResponseError):
        return connection.read_response()
    return None


def mark(client: Any, url: str) -> None:
    """Set the mark in a Redis database that has none. Raises OtherInstallation, and redis-py's errors."""
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(KEY, own_id(), nx=True)
        pipeline.get(KEY)
        found = pipeline.execute(raise_on_error=False)[-1]
    _require_own_mark(None if isinstance(found, Exception) else found, without_password(url))


def mark_broker(connection: Any, *, over: bool = False) -> None:
    """The same for the broker of a kombu connection; with `over`, also in the place of another mark."""
    if connection.transport.driver_type == "redis":
        client = connection.default_channel.client
        if over:
            client.set(KEY, own_id())
        mark(client, connection.as_uri())
        return
    with connection.channel() as channel:
        if over:
            channel.exchange_delete(EXCHANGE)
        try:
            arguments = {"alternate-exchange": f"beatdesk.{own_id()}"}
            channel.exchange_declare(EXCHANGE, "fanout", durable=True, auto_delete=False, arguments=arguments)
        except PreconditionFailed as error:
            theirs = re.search(r"current is '?beatdesk\.([\w-]+)", str(error))
            _require_own_mark(theirs[1] if theirs else "unknown", without_password(connection.as_uri()))
        except ChannelError as error:
            logger.info("the broker cannot be marked: %s", error)


def _require_own_mark(found: str | bytes | None, where: str) -> None:
    theirs = found.decode() if isinstance(found, bytes) else found
    if theirs is None or theirs == own_id():
        return
    _process.refused = (
        f"{where} belongs to another installation of Beatdesk ({theirs}; this one is {own_id()}), so that each would "
        "take the other's runs. Give this one another database or virtual host by REDIS_URL and CELERY_BROKER_URL; if "
        "it has replaced the other one, run: flask installation take-over"
    )
    raise OtherInstallation(_process.refused)


def without_password(url: str) -> str:
    """A server's address without its password."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def require(redis_url: str, connect_broker: Callable[[], Any]) -> None:
    """Exit with one line if a server belongs to another installation; see `problem`."""
    if line := problem(redis_url, connect_broker):
        sys.exit(line)


def problem(redis_url: str, connect_broker: Callable[[], Any]) -> str | None:
    """Why a process must not start with these servers, or None; `connect_broker` marks the broker.

    Servers that are away, and a database that is not migrated yet, do not prevent a start.
    """
    try:
        with redis.Redis.from_url(redis_url, socket_connect_timeout=1.0, socket_timeout=1.0) as client:
            mark(client, redis_url)
        connect_broker()
    except OtherInstallation as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # each transport has its own errors, and all are checked again later
        logger.info("the owner of the servers is checked later: %s", error)
    return None


def take_over(redis_url: str, connection: Any) -> None:
    """Set our mark on Redis and on the broker of a kombu connection, over any other. Raises their errors."""
    with redis.Redis.from_url(redis_url, socket_connect_timeout=5.0, socket_timeout=5.0) as client:
        client.set(KEY, own_id())
    mark_broker(connection, over=True)
