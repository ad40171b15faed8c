"""RedBeat's keys in a real server, in the form in which celery-redbeat 2.4 writes them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner
from redis import Redis

from tests import tls
from tests.mail.servers import make_certificate
from webapp.extensions import db
from webapp.schedules.transfer import export

EVERY = {"__type__": "interval", "every": 90.0, "relative": False}
NIGHTLY = {
    "__type__": "crontab", "minute": "0", "hour": 2,
    "day_of_week": "*", "day_of_month": "1,15", "month_of_year": [1, 7],
}  # fmt: skip
YEARLY = {"__type__": "rrule", "freq": 0, "interval": 1, "wkst": None, "count": 3, "dtstart": 1764000000}
MOMENT = {
    "__type__": "datetime", "year": 2027, "month": 10, "day": 30, "hour": 8, "minute": 0, "second": 0,
    "microsecond": 0, "timezone": "Asia/Kathmandu",
}  # fmt: skip


@pytest.fixture
def theirs(valkey_url: str, redis: Redis) -> Iterator[Redis]:
    """Another database of the run's server."""
    with Redis.from_url(valkey_url.rsplit("/", 1)[0] + "/5", decode_responses=True) as client:
        yield client


@pytest.fixture
def url(valkey_url: str, redis: Redis) -> Iterator[str]:
    """The address by which it is read, of a user who may do nothing else."""
    redis.execute_command("ACL", "SETUSER", "reader", "on", ">secret-word", "~*", "+@read", "+select")
    yield valkey_url.replace("redis://", "redis://reader:secret-word@").rsplit("/", 1)[0] + "/5"
    redis.execute_command("ACL", "DELUSER", "reader")


def save(theirs: Redis, name: str, schedule: Any, *, prefix: str = "redbeat:", fired: bool = True, **more: Any) -> None:
    """As `RedBeatSchedulerEntry.save` does."""
    definition = {"name": name, "task": "add", "args": [1, 2], "kwargs": {}, "options": {}, "enabled": True}
    meta = {"last_run_at": MOMENT, "total_run_count": 7}
    theirs.hset(prefix + name, "definition", json.dumps(definition | {"schedule": schedule} | more))
    theirs.hsetnx(prefix + name, "meta", json.dumps(meta))
    if fired:
        theirs.zadd(f"{prefix}:schedule", {prefix + name: 1764000000})


@pytest.fixture
def run(context: Flask, runner: FlaskCliRunner, url: str) -> Any:
    def invoked(*options: str, at: str = url) -> Result:
        db.session.remove()
        return runner.invoke(args=["schedules", "import", "--redbeat", at, *options])

    return invoked


def steps(result: Result) -> dict[str, dict[str, Any]]:
    return {step["key"]: step for step in json.loads(result.stdout)}


def test_its_schedules_become_ours_and_what_cannot_is_named(theirs: Redis, run: Any) -> None:
    save(theirs, "every", EVERY, options={"queue": "slow", "expires": 60, "retry": False})
    save(theirs, "nightly", NIGHTLY)
    save(theirs, "yearly", YEARLY)
    save(theirs, "wrong", {**NIGHTLY, "minute": "61"})
    save(theirs, "five", EVERY, args=5)
    save(theirs, "never", {"__type__": "interval"})
    theirs.sadd("redbeat::statics", "nightly")
    theirs.set("redbeat::lock", "x")
    theirs.set("redbeat:text", "x")
    theirs.hset("redbeat:broken", "definition", "{")
    theirs.hset("redbeat:bare", "meta", "{}")
    theirs.hset("another", "definition", "{}")
    result = run("--apply", "--skip-refused", "--json")
    found = steps(result)
    assert result.exit_code == 3, result.output
    assert {name for name, step in found.items() if step["action"] == "create"} == {"every", "nightly"}
    reasons = {name: step["errors"][""] for name, step in found.items() if step["errors"]}
    assert reasons.keys() == {"yearly", "wrong", "five", "never", "text", "broken", "bare"}
    assert reasons["yearly"].startswith("It cannot be read: its schedule is of the type “rrule”")
    assert "61" in reasons["wrong"]
    assert reasons["bare"] == reasons["text"] == "Its key is not a hash with a definition."
    assert found["every"]["notes"] == ["The option “retry” is not supported and is left out."]
    assert any("beat_schedule of the app" in note for note in found["nightly"]["notes"])
    every, nightly = [one.snapshot for one in export.schedules()]
    assert every == every | {"every": 90, "period": "seconds", "queue": "slow", "expire_seconds": 60, "args": [1, 2]}
    assert (nightly["crontab"], nightly["enabled"]) == ("0 2 1,15 1,7 *", True)
    assert theirs.hget("redbeat:every", "meta") is not None


def test_time_zone_is_celerys_default_unless_given_and_is_shown(theirs: Redis, run: Any) -> None:
    save(theirs, "nightly", NIGHTLY)
    assert "Times are in UTC, Celery's default, because RedBeat keeps no time zone." in run().stdout
    chosen = "Times are in Europe/Berlin, as chosen, because RedBeat keeps no time zone."
    assert chosen in run("--apply", "--timezone", "europe/berlin").stdout
    assert [one.snapshot["timezone"] for one in export.schedules()] == ["Europe/Berlin"]


def test_what_redbeat_does_not_fire_is_imported_disabled(theirs: Redis, run: Any) -> None:
    save(theirs, "off", EVERY, enabled=False)
    save(theirs, "lost", EVERY, fired=False)
    save(theirs, "orphan", EVERY, task="shop.tasks.removed")
    found = steps(run("--apply", "--json"))
    assert [one.snapshot["enabled"] for one in export.schedules()] == [False] * 3
    assert found["off"]["notes"] == []
    assert "RedBeat does not fire it" in found["lost"]["notes"][0]
    assert "is not registered" in found["orphan"]["notes"][0]


def test_a_date_among_the_arguments_is_sent_as_celery_sends_it(theirs: Redis, run: Any) -> None:
    save(theirs, "dated", EVERY, task="shop.tasks.dated", args=[MOMENT], kwargs={"plain": {"__type__": "mine"}})
    assert run("--apply").exit_code == 0
    (found,) = [one.snapshot for one in export.schedules()]
    assert found["args"] == [{"__type__": "datetime", "__value__": "2027-10-30T08:00:00+05:45"}]
    assert found["kwargs"] == {"plain": {"__type__": "mine"}}


def test_the_key_prefix_can_be_another_with_signs_of_patterns_in_it(theirs: Redis, run: Any) -> None:
    save(theirs, "plain", EVERY)
    save(theirs, "mine", EVERY, prefix="app[1]*:")
    assert steps(run("--redbeat-key-prefix", "app[1]*:", "--json")).keys() == {"mine"}
    nothing = run("--redbeat-key-prefix", "none:")
    assert (nothing.exit_code, nothing.stderr) == (
        1, "Error: file: There is no key that begins with “none:” and has a name after it.\n",
    )  # fmt: skip


def test_a_server_that_cannot_be_read_is_named_without_its_password(theirs: Redis, run: Any, url: str) -> None:
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}"
    for at, error in (
        (url.replace("secret-word", "secret-ward"), f"--redbeat: Redis at {host} cannot be read: "),
        ("redis://:secret-word@127.0.0.1:1/0", "--redbeat: Redis at 127.0.0.1:1 cannot be read: ConnectionError"),
        ("http://:secret-word@x", "--redbeat: --redbeat must look like redis://HOST/"),
        (f"{url}?ssl_ca_certs=/x", "--redbeat: --redbeat has the option ssl_ca_certs, which needs rediss://"),
    ):
        result = run(at=at)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"Error: {error}"), result.stderr
        assert "secret" not in result.stderr


def test_it_is_read_by_tls_with_a_certificate_that_is_checked(
    theirs: Redis, run: Any, url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    save(theirs, "every", EVERY)
    made: tuple[Path, ssl.SSLContext] = make_certificate(tmp_path_factory.mktemp("certificate"), tls.HOST)
    port = urlsplit(url).port
    assert port is not None
    with tls.in_front_of(port, made[1]) as front:
        secure = f"rediss://reader:secret-word@{tls.HOST}:{front}/5"
        assert steps(run("--json", at=f"{secure}?ssl_ca_certs={made[0]}")).keys() == {"every"}
        assert "certificate verify failed" in run(at=secure).stderr.lower()
