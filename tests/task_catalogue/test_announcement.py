"""The announcement of an app: what it says of each task, and that it reaches a stream in Redis."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
import redis as redis_client
from celery import Celery, Task
from kombu import Queue

from beatdesk.announcing import STREAM, announce, announcement, unpacked


class Size(Enum):
    SMALL = "s"
    LARGE = "l"


class Order:
    """A type that no form knows."""


def nothing() -> None:
    """A task without arguments."""


@pytest.fixture
def app() -> Celery:
    return Celery("shop", broker="memory://", set_as_current=False)


def announced(app: Celery, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(announcement(app)))["tasks"][name]
    return found


def parameters(app: Celery, name: str) -> dict[str, dict[str, Any]]:
    return {one.pop("name"): one for one in announced(app, name)["parameters"]}


def test_types_defaults_and_descriptions_of_parameters(app: Celery) -> None:
    @app.task(name="shop.ship", shared=False, bind=True)
    def ship(
        self: Task,
        order: int,
        to: str = "",
        /,
        *more: UUID,
        size: Size = Size.SMALL,
        kind: Literal["air", "sea"] | None = None,
        when: date | datetime | None = None,
        prices: Annotated[dict[str, list[Decimal]], "EUR"] = {},  # noqa: B006
        wait: timedelta = timedelta(minutes=5),
        thing: Order | None = None,
        **rest: float,
    ) -> None:
        """Ship an order,
        by air or sea.

        Nothing of this is announced.

        Args:
            order (int): Its number.
            size: Of the parcel.
        """

    assert announced(app, "shop.ship")["doc"] == "Ship an order,\nby air or sea."
    assert parameters(app, "shop.ship") == {
        "order": {"kind": "positional_only", "type": "int", "hint": "Its number."},
        "to": {"kind": "positional_only", "type": "str", "default": ""},
        "more": {"kind": "var_positional", "type": "uuid"},
        "size": {
            "kind": "keyword_only",
            "type": ["enum", "Size", ["SMALL", "s"], ["LARGE", "l"]],
            "default": "s",
            "hint": "Of the parcel.",
        },
        "kind": {"kind": "keyword_only", "type": ["union", ["literal", "air", "sea"], "null"], "default": None},
        "when": {"kind": "keyword_only", "type": ["union", "date", "datetime", "null"], "default": None},
        "prices": {"kind": "keyword_only", "type": ["object", ["list", "decimal"]], "default": {}},
        "wait": {"kind": "keyword_only", "default_text": "datetime.timedelta(seconds=300)", "type": None},
        "thing": {"kind": "keyword_only", "type": ["union", None, "null"], "default": None},
        "rest": {"kind": "var_keyword", "type": "float"},
    }


def test_settings_of_tasks_are_announced_and_no_secrets(app: Celery) -> None:
    @app.task(
        name="shop.pay",
        shared=False,
        secrets=("iban",),
        rate_limit="10/m",
        acks_late=True,
        time_limit=300,
        max_retries=None,
    )
    def pay(iban: str = "DE00", password: str = "hunter2", url: str = "redis://:pw@host/0") -> None:
        """Pay."""

    task = announced(app, "shop.pay")
    assert task["secrets"] == ["iban"]
    assert task["time_limit"] == 300
    assert (task["rate_limit"], task["acks_late"]) == ("10/m", True)
    assert "max_retries" not in task
    text = json.dumps(task)
    assert not [secret for secret in ("DE00", "hunter2", ":pw@") if secret in text]


def test_limits_of_the_app_count_for_tasks_without_limits(app: Celery) -> None:
    app.conf.task_soft_time_limit = 200
    app.task(nothing, name="shop.plain", shared=False)
    assert announced(app, "shop.plain")["soft_time_limit"] == 200


def test_a_task_written_as_a_class_is_described_by_its_class(app: Celery) -> None:
    class Report(Task):
        """Make a report."""

        name = "shop.report"

        def run(self, year: int) -> None:
            pass

    app.register_task(Report())
    assert announced(app, "shop.report")["doc"] == "Make a report."
    assert parameters(app, "shop.report") == {"year": {"kind": "positional_or_keyword", "type": "int"}}


def test_what_cannot_be_read_is_left_out(app: Celery) -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    @app.task(name="shop.odd", shared=False)
    def odd(thing: "Missing" = Odd()) -> None:  # type: ignore[name-defined]  # noqa: B008, F821, UP037
        pass

    app.register_task(type("Builtin", (Task,), {"name": "shop.builtin", "run": staticmethod(map)})())
    assert parameters(app, "shop.odd") == {"thing": {"kind": "positional_or_keyword", "default_text": "Odd"}}
    assert "parameters" not in announced(app, "shop.builtin")


def test_queues_come_from_routes_and_no_queue_is_added(app: Celery) -> None:
    def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
        if name == "queues.by_argument":
            return {"queue": f"shard{args[0]}"}
        return {"exchange": "topics", "routing_key": "a.b"} if name == "queues.by_key" else None

    app.conf.task_routes = [router, {"queues.slow": {"queue": "slow"}, "queues.objects": {"queue": Queue("objects")}}]
    app.conf.task_default_queue = "shop"
    for name in ("queues.by_argument", "queues.by_key", "queues.slow", "queues.objects", "queues.plain"):
        app.task(nothing, shared=False, name=name)
    found = {name: task.get("queue") for name, task in announcement(app)["tasks"].items() if name.startswith("queues.")}
    assert found == {
        "queues.by_argument": None,
        "queues.by_key": None,
        "queues.slow": "slow",
        "queues.objects": "objects",
        "queues.plain": "shop",
    }
    assert list(app.amqp.queues) == ["shop"]


def test_an_announcement_is_an_entry_of_a_stream(app: Celery, redis: redis_client.Redis) -> None:
    app.conf.timezone, app.conf.task_default_queue = "Asia/Kathmandu", "shop"
    app.task(nothing, shared=False, name="shop.plain")
    assert announce(app, redis, "celery@host") == len(app.tasks)
    ((_, fields),) = redis.xrange(STREAM)
    assert fields["source"] == "celery@host"
    made = unpacked(fields["body"])
    expected = {"name": "shop", "timezone": "Asia/Kathmandu", "queue": "shop", "accepts": ["json"]}
    assert expected.items() <= {name: value for name, value in made["app"].items() if name in expected}.items()
    assert "shop.plain" in made["tasks"]


@pytest.mark.parametrize("text", ["", "?", "eJwDAAAAAAE=", "bm90IHppcHBlZA=="])
def test_what_is_no_announcement_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an announcement"):
        unpacked(text)
