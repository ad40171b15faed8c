"""Tasks with and without secrets, sealed texts of both versions, and every way to submit arguments."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import redis as redis_client
from flask.testing import FlaskCliRunner

from beatdesk.secrecy import sealing
from tests.visitors import Visitor
from webapp.extensions import celery

CANARY = "canary-41b7"
VAULT, ECHO = "vault.open", "vault.echo"
CALL: dict[str, Any] = {"password": f"{CANARY}-word", "url": f"amqp://maya:{CANARY}@broker/", "room": 5}
SHOWN = {"password": "•••", "url": "amqp://maya:•••@broker/", "room": 5}
WHEN = {"kind": "crontab", "crontab": "0 8 * * *", "timezone": "UTC"}


def tasks() -> Iterator[None]:
    """One task with secrets by name, by position and by its own rule; one that would say whatever it is given."""

    @celery.task(name=VAULT, shared=False, secrets=("card",))
    def open_vault(card: str = "", *, password: str = "", url: str = "", room: int = 0) -> None: ...

    @celery.task(name=ECHO, shared=False)
    def echo(text: Any = "", password: str = "") -> None: ...

    yield
    for name in (VAULT, ECHO):
        celery.tasks.pop(name)


def sealed_as_before(text: str) -> str:
    """Sealed by version 1."""
    return "sealed:v1:" + str(sealing._fernet(sealing._key()).encrypt(json.dumps(text).encode()).decode())


def calls_sent(redis: redis_client.Redis) -> list[list[Any]]:
    """Positional arguments and by name, and what is embedded, of each message."""
    return [json.loads(b64decode(json.loads(text)["body"])) for text in redis.lrange("beatdesk", 0, -1)]


Door = Callable[[Visitor, str, dict[str, Any]], Any]


def doors(schedule_id: int, run_id: str) -> dict[str, Door]:
    """Each submits a task and its named arguments as an admin, and returns the response."""
    number = f"/schedules/{schedule_id}"

    def fields(kwargs: dict[str, Any]) -> dict[str, str]:
        return {f"arg.{name}": text if isinstance(text, str) else json.dumps(text) for name, text in kwargs.items()}

    def as_json(kwargs: dict[str, Any]) -> dict[str, str]:
        return {"mode": "json", "args": "[]", "kwargs": json.dumps(kwargs)}

    def file(task: str, kwargs: dict[str, Any]) -> str:
        return json.dumps({"schedules": [{"name": "imported", "task": task, **WHEN, "kwargs": kwargs}]})

    return {
        "launch": lambda who, task, kwargs: who.post("/runs/new", {"task": task, **fields(kwargs)}),
        "launch as JSON": lambda who, task, kwargs: who.post("/runs/new", {"task": task, **as_json(kwargs)}),
        "retry": lambda who, task, kwargs: who.post("/runs/new", {"task": task, "from": run_id, **fields(kwargs)}),
        "create": lambda who, task, kwargs: who.post(
            "/schedules", {"name": "n", "task": task, **WHEN, **fields(kwargs)}
        ),
        "create as JSON": lambda who, task, kwargs: who.post_json(
            "/schedules", {"name": "n", "task": task, **WHEN, "kwargs": kwargs}
        ),
        "clone": lambda who, task, kwargs: who.post_json(
            "/schedules", {"clone": schedule_id, "name": "n", "task": task, **WHEN, "kwargs": kwargs}
        ),
        "edit": lambda who, task, kwargs: who.post_json(number, {"task": task, "args": [], "kwargs": kwargs}),
        "import": lambda who, task, kwargs: who.post_json(
            "/schedules/import", {"file": file(task, kwargs), "apply": True}
        ),
    }


def by_command(runner: FlaskCliRunner, task: str, kwargs: dict[str, Any]) -> Any:
    return runner.invoke(args=["runs", "launch", task, "--kwargs", json.dumps(kwargs)])
