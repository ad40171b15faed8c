"""Everything that a server holds, as values that can be compared."""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import urlsplit

import psycopg
import redis as redis_client
from psycopg import sql

# What a PostgreSQL database has outside of its system's schemas.
_CATALOGUE = {
    "schemas": "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' ORDER BY 1",
    "columns": "SELECT table_schema, table_name, ordinal_position, column_name, data_type, udt_schema, udt_name, "
    "is_nullable, column_default FROM information_schema.columns "
    "WHERE table_schema !~ '^(pg_|information_schema)' ORDER BY 1, 2, 3",
    "indexes": "SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname !~ '^pg_' ORDER BY 1, 2",
    "constraints": "SELECT n.nspname, conname, pg_get_constraintdef(c.oid) FROM pg_constraint c "
    "JOIN pg_namespace n ON n.oid = connamespace WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY 1, 2",
    "triggers": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    "functions": "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
    "WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY 1",
    "types": "SELECT n.nspname, typname, typtype FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace "
    "WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY 1, 2",
    "tables": "SELECT schemaname, tablename FROM pg_tables "
    "WHERE schemaname !~ '^(pg_|information_schema)' ORDER BY 1, 2",
}


def of_database(url: str) -> dict[str, list[Any]]:
    """Definitions and rows, of any schema."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(urlsplit(url).path)
        try:
            return {"dump": list(connection.iterdump())}
        finally:
            connection.close()
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as server:
        found = {name: server.execute(query).fetchall() for name, query in _CATALOGUE.items()}
        for schema, table in found["tables"]:
            rows = server.execute(sql.SQL("SELECT * FROM {} ORDER BY 1").format(sql.Identifier(schema, table)))
            found[f"rows of {schema}.{table}"] = rows.fetchall()
    return found


def of_redis(url: str) -> dict[bytes, bytes | None]:
    """Every key's value as `DUMP` gives it, by number of the database and name; without kombu's clocks."""
    found: dict[bytes, Any] = {}
    for number in range(3):
        with redis_client.Redis.from_url(f"{url.rsplit('/', 1)[0]}/{number}") as client:
            for key in client.scan_iter("*"):
                if key.startswith((b"_kombu.binding_deadlines", b"unacked_mutex")):
                    continue
                value: Any = client.dump(key)
                if client.type(key) == b"set":
                    # In any order. What a killed worker of any Celery project leaves there expires by itself.
                    value = sorted(each for each in client.smembers(key) if b"celeryev." not in each)
                if value:
                    found[b"%d %s" % (number, key)] = value
    return found
