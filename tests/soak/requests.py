"""Requests that none of our forms sends: odd fields, queries, headers and bodies, at every route."""

from __future__ import annotations

import json
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from flask import Flask
from werkzeug.routing import Rule
from werkzeug.routing.converters import AnyConverter, NumberConverter

from beatdesk.encoding import decode_json
from tests.runs.making import make_run
from tests.soak.measure import Measure
from tests.visitors import Visitor
from webapp.database.engine import Base
from webapp.extensions import db
from webapp.run_store.states import RunState
from webapp.schedules import service

ROLES = ("admin", "scheduler", "operator", "viewer", "member", None)
# What ends the visitor's sign-in, streams for ever, or says by design that something is away.
LEFT_OUT = ("/logout", "/live/", "/static/", "/account/password", "/account/sign-ins", "/readyz")
FIELDS = (
    "name", "task", "args", "kwargs", "queue", "email", "password", "birthday", "timezone", "reason", "until", "tags",
    "description", "kind", "crontab", "every", "period", "at", "file", "format", "q", "state", "top", "num1", "num2",
    "from", "on_resume", "ids", "id", "field", "add", "remove", "days", "roles", "build.minute", "arg.num1", "arg.num2",
    "next", "back", "theme", "version", "schedule_id", "mode", "eta", "countdown", "expires", "priority", "due", "page",
    "before", "after", "clone", "span", "sort", "direction", "all", "confirmed", "apply", "enabled", "max_runs",
    "jitter", "misfire_window", "overlap", "failure_budget", "expire_seconds", "latitude", "longitude", "event",
    "start", "end", "succeeded", "failed", "idempotency_key", "tasks", "command", "active", "wants_birthday_mail",
    "new_password",
)  # fmt: skip
DEEP = "[" * 20_000 + "]" * 20_000
TEXTS = (
    "", " ", "0", "-1", "1", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
    "1" * 400, "1e400", "-1e400", "NaN", "Infinity", "1e-400", "0x10", "１２", "٣", "null", "true", "[]", "{}",
    "[1, 2]",
    '["a", "b"]', '{"a": 1}', "[NaN]", "[1e400]", '{"__type__": "datetime", "__value__": "x"}', DEEP, '{"a":' * 200,
    "add", "celery.backend_cleanup", "os.system", "x" * 300, "x" * 5_000, "caf\u00e9", "\U0001f600" * 90, "a\x00b",
    "a\r\nX-Evil: 1", "\u2028", "\u202e", "' OR 1=1 --", "%", "_", "\\", "<script>", "{{ 7*7 }}", "../../etc/passwd",
    "//evil.example", "2027-10-30T22:00", "9999-12-31T23:59:59", "0001-01-01", "2027-02-30", "Europe/Berlin",
    "Mars/Base",
    "*/5 * * * *", "* * * *", "0 0 31 2 *", "sunset", "interval", "crontab", "clocked", "solar", "days", "90s",
    "1" * 20 + "d",
    "a@b.c", "maya@example.com", "a@" + "b" * 300 + ".com", "state:failed", "args.a:1", "runtime:>1e9h",
    "since:99999999999h",
    "id:%s" % ("f" * 36), '"', "root:x", "json", "fields", "schedules: [{name: *a}]", "&a [*a]", "- - -", "run_once",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308, [], {}, [[]], [None],
    {"a": {"b": []}},
    ["x"] * 200, {"": ""},
)  # fmt: skip
# Bodies as they are: what no client of ours would make.
BODIES = (
    "",
    "{",
    "[]",
    "null",
    '"x"',
    "1",
    DEEP,
    '{"email": NaN}',
    '{"args": [1e400]}',
    f'{{"name": {DEEP}}}',
    "\xff",
    "{}{}",
)
HEADERS = (
    "Accept", "Accept-Language", "HX-Request", "HX-Current-URL", "HX-PTag", "If-None-Match", "Referer", "Origin",
    "Range", "X-Forwarded-For", "X-Requested-With", "Authorization", "User-Agent", "X-HTTP-Method-Override",
)  # fmt: skip


SCHEDULE = {"task": "add", "args": [1, 2], "kind": "crontab", "crontab": "0 8 * * *"}
JSON_COLUMNS = ("args", "kwargs", "tags", "snapshot", "before", "after", "headers")


@dataclass
class Outcome:
    """The outcome: the count of each status, the requests that broke, and the values that the schema does not allow."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


class _Attack:
    """Makes requests by a seed, so that what breaks can be made again."""

    def __init__(self, app: Flask, seed: int) -> None:
        self.dice = random.Random(seed)
        self.visitors = [Visitor(app, role) for role in ROLES]
        for visitor in self.visitors:
            visitor.token = visitor.form_token()
        with app.app_context():
            self.ids = [make_run(state) for state in (RunState.FAILED, RunState.STARTED, RunState.UNCONFIRMED)]
            made = service.create(
                {"name": "Sums", "task": "add", "args": [1, 2], "kind": "crontab", "crontab": "0 8 * * *"}
            )
            self.numbers = (made.id, 1, 2, 0, 2**31 - 1, 2**31, 2**63, 10**30)
            db.session.remove()
        self.rules = [rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(LEFT_OUT)]

    def send(self) -> tuple[str, int]:
        """One request; returns what it was, and the status of its answer."""
        rule, visitor = self.dice.choice(self.rules), self.dice.choice(self.visitors)
        method = self.dice.choice(sorted((rule.methods or set()) - {"OPTIONS"}))
        path = self._path(rule)
        if self.dice.random() < 0.5:
            path += "?" + "&".join(f"{name}={quote(text[:300])}" for name, text in self._fields().items())
        headers = {"X-CSRFToken": visitor.token, **self._headers()}
        body = {} if method in ("GET", "HEAD") else self._body()
        answer = visitor.client.open(path, method=method, headers=headers, **body)
        if answer.is_json and answer.data:
            decode_json(answer.data)
        return f"{method} {path[:300]} {headers} {str(body)[:600]}", answer.status_code

    def _path(self, rule: Rule) -> str:
        path = rule.rule
        for name, kind in rule._converters.items():
            if isinstance(kind, AnyConverter):
                value = self.dice.choice(sorted(kind.items))
            elif isinstance(kind, NumberConverter):
                value = str(self.dice.choice(self.numbers))
            else:
                value = self.dice.choice((*self.ids, *TEXTS[:40]))
            path = _filled(path, name, quote(value[:500], safe=""))
        return path

    def _fields(self) -> dict[str, str]:
        return {name: self.dice.choice(TEXTS)[:30_000] for name in self.dice.sample(FIELDS, self.dice.randint(1, 12))}

    def _headers(self) -> dict[str, str]:
        if self.dice.random() < 0.7:
            return {"Accept": self.dice.choice(("text/html", "application/json"))}
        # A server refuses line breaks and what is not Latin-1 before we see it.
        texts = [text for text in TEXTS if text.isprintable() and text.isascii() and len(text) < 400]
        return {name: self.dice.choice((*texts, "true")) for name in self.dice.sample(HEADERS, 3)}

    def _body(self) -> dict[str, Any]:
        kind = self.dice.random()
        if kind < 0.5:
            return {"data": self._fields()}
        if kind < 0.6:
            return {"data": self.dice.choice(BODIES).encode("latin-1"), "content_type": "application/json"}
        names = self.dice.sample(FIELDS, self.dice.randint(1, 12))
        return {"json": {name: self.dice.choice((*VALUES, *TEXTS)) for name in names}}


def _filled(rule: str, name: str, value: str) -> str:
    """A rule with one of its converters, `<kind(options):name>`, replaced."""
    end = rule.index(f"{name}>")
    return rule[: rule.rindex("<", 0, end)] + value + rule[end + len(name) + 1 :]


def attack(app: Flask, count: int, seed: int) -> Outcome:
    """Send so many requests, then look at every row."""
    made, outcome = _Attack(app, seed), Outcome()
    for _ in range(count):
        what, status = made.send()
        outcome.statuses[status] += 1
        if status >= 500:
            outcome.broken.append(f"{status}: {what}")
    with app.app_context():
        outcome.outside = list(outside_schema(db.session.connection()))
        db.session.remove()
    return outcome


def outside_schema(connection: sa.Connection) -> Iterator[str]:
    """Each value that its column does not allow, on SQLite too, which keeps whatever it is given."""
    for table in Base.metadata.sorted_tables:
        for row in connection.execute(sa.select(table)).mappings():
            for column in table.columns:
                value = row[column.name]
                if problem := _problem(column, value):
                    yield f"{table.name}.{column.name}: {problem}: {str(value)[:80]!r}"


def _problem(column: sa.Column[Any], value: Any) -> str:
    if value is None:
        return "" if column.nullable else "null"
    if isinstance(column.type, sa.String):
        if not isinstance(value, str) or (column.type.length and len(value) > column.type.length):
            return "no text, or too long"
        return _json_problem(value) if column.name in JSON_COLUMNS else ""
    if isinstance(column.type, sa.Integer):
        bits = 63 if isinstance(column.type, sa.BigInteger) else 31
        return "" if isinstance(value, int) and -(2**bits) <= value < 2**bits else "too large"
    return "no number" if isinstance(column.type, sa.Float) and not math.isfinite(value) else ""


def _json_problem(text: str) -> str:
    try:
        decode_json(text)
    except ValueError as error:
        return str(error)
    return ""


def measures(app: Flask, count: int, seed: int) -> list[Measure]:
    """S3 of the reliability table."""
    found = attack(app, count, seed)
    for line in (*found.broken[:20], *found.outside[:20]):
        sys.stderr.write(json.dumps(line) + "\n")
    return [
        Measure("S3", f"odd requests, seed {seed}", sum(found.statuses.values())),
        Measure("S3", "answers of 500 and more", len(found.broken), "", "=", 0),
        Measure("S3", "values outside of the schema", len(found.outside), "", "=", 0),
    ]
