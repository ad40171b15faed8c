"""Searching for a text in everything that is stored."""

from __future__ import annotations

from typing import Any

import redis as redis_client
import sqlalchemy as sa

from tests.support import reading
from webapp.database.engine import Base
from webapp.extensions import db


def places_in_database(text: str) -> list[str]:
    """Each table and column that has it."""
    found = []
    with reading():
        for table in Base.metadata.sorted_tables:
            for row in db.session.execute(sa.select(table)).mappings():
                found += [f"{table.name}.{name}" for name, value in row.items() if text in str(value)]
    return found


def places_in_redis(url: str, text: str) -> list[str]:
    """Each key that has it, in every database of the server."""
    found = []
    for number in range(16):
        with redis_client.Redis.from_url(f"{url.rsplit('/', 1)[0]}/{number}", decode_responses=True) as client:
            found += [key for key in client.scan_iter() if text in key or text in _content(client, key)]
    return found


def _content(client: Any, key: str) -> str:
    match client.type(key):
        case "string":
            return str(client.get(key))
        case "list":
            return str(client.lrange(key, 0, -1))
        case "hash":
            return str(client.hgetall(key))
        case "set":
            return str(client.smembers(key))
        case "zset":
            return str(client.zrange(key, 0, -1))
        case "stream":
            return str(client.xrange(key)) + str(client.xinfo_groups(key))
        case other:
            raise AssertionError(f"{key} is a {other}")
