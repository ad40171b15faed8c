"""What is wrong now, for the banner of every page, `/readyz`, `/metrics` and programs: looked up once, for all of them.

1. Database, Redis and broker are looked at side by side, each in a thread (under gevent a greenlet) of its own, while
   somebody asks and no more often than its `every`. So a page pays nothing, and no more than one look of each part is
   under way however many ask.
2. Who asks says how old the answer may be, and how long to wait for a newer one. A page waits only where the last
   answer is old, because nobody has asked for a while.
3. A part whose look fails, or takes longer than `SILENT_AFTER`, does not answer: that is its sign then, in the place of
   all that it would have said.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from flask import Flask, current_app, request

from webapp.database.engine import now, read_only
from webapp.overview import signs
from webapp.overview.signs import Sign
from webapp.web.access import act_as

logger = logging.getLogger(__name__)

# Seconds. What `/readyz` waits, and after what time without an answer a part does not answer.
PATIENCE = 3.0
SILENT_AFTER = 2.5
# A page takes what is known if a newer look is due for no longer than that, and otherwise waits this long for it.
PAGE_MAX_AGE = 3.0
PAGE_PATIENCE = 0.25

# What open pages ask.
ENDPOINT = "overview.what_is_wrong"
OK = "ok"
UNKNOWN = "unknown"
# What `/readyz` tells of, by the part that knows it.
CHECKS = {
    "database": ("database", "beat", "worker"),
    "redis": ("redis", "recorder"),
    "broker": ("broker",),
}


@dataclass(frozen=True, slots=True)
class Health:
    """Everything that is wrong, the worst first, and each check of `/readyz`: "ok", or what is wrong in a few words."""

    signs: Sequence[Sign]
    checks: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether everything that a run needs is there."""
        return all(word == OK for word in self.checks.values())


@dataclass(slots=True)
class _Part:
    """A server that is asked, at most once in `every` seconds: for the broker, each look takes a connection."""

    name: str
    look: Callable[[], list[Sign]]
    every: float
    found: list[Sign] | None = None
    looked_at: float = field(default=float("-inf"))
    begun_at: float | None = None
    failing_since: datetime | None = None

    def age(self, at: float) -> float:
        return at - self.looked_at

    def silent(self, at: float) -> bool:
        if self.begun_at is not None and at - self.begun_at > SILENT_AFTER:
            self.failing_since = self.failing_since or now()
        return self.failing_since is not None


class Monitor:
    """Looks, and keeps what was found. One in each process; any number of threads ask."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._changed = threading.Condition()
        self._parts = (
            _Part("database", signs.of_database, 1.0),
            _Part("redis", signs.of_redis, 1.0),
            _Part("broker", signs.of_broker, 5.0),
        )

    def health(self, *, max_age: float = 0.0, patience: float = PATIENCE) -> Health:
        """What is known; waits up to `patience` seconds for looks that are due by more than `max_age`. Never raises."""
        give_up = time.monotonic() + patience
        with self._changed:
            for part in self._parts:
                self._begin(part, time.monotonic())
            while any(self._awaited(part, max_age) for part in self._parts):
                if not self._changed.wait(give_up - time.monotonic()):
                    break
            return self._compose(time.monotonic())

    def database_is_away(self) -> bool:
        """Whether the database did not answer when it was last asked."""
        return self.health(patience=0.0).checks["database"] == signs.SILENT

    def _begin(self, part: _Part, at: float) -> None:
        if part.begun_at is None and part.age(at) >= part.every:
            part.begun_at = at
            threading.Thread(target=self._look, args=(part, at), name=f"health-{part.name}", daemon=True).start()

    def _awaited(self, part: _Part, max_age: float) -> bool:
        at = time.monotonic()
        return part.begun_at is not None and part.age(at) > max_age + part.every and not part.silent(at)

    def _look(self, part: _Part, at: float) -> None:
        read_only.set(True)
        found: list[Sign] | None = None
        try:
            with self._app.app_context():
                found = part.look()
        except Exception as error:  # noqa: BLE001  # whatever it is, the part is not well, and that is the answer
            if part.failing_since is None:
                logger.warning("%s does not answer: %s", part.name, error)
        with self._changed:
            part.begun_at, part.looked_at = None, at
            if found is None:
                part.failing_since = part.failing_since or now()
            else:
                part.found, part.failing_since = found, None
            self._changed.notify_all()

    def _compose(self, at: float) -> Health:
        found: list[Sign] = []
        checks: dict[str, str] = {}
        for part in self._parts:
            if part.silent(at):
                found.append(replace(signs.AWAY[part.name], since=part.failing_since))
                known = UNKNOWN
            else:
                found += part.found or []
                known = OK if part.found is not None else UNKNOWN
            checks |= dict.fromkeys(CHECKS[part.name], known)
        checks |= {sign.key: sign.check for sign in found if sign.check}
        return Health(sorted(found, key=lambda sign: sign.severity), checks)


def init_health(app: Flask) -> None:
    """Let pages ask what is wrong. Nothing is looked at before the first one does."""
    app.extensions["health"] = Monitor(app)
    app.jinja_env.globals["health_signs"] = page_signs
    app.before_request(_ask_nobody_who_it_is)


def _ask_nobody_who_it_is() -> None:
    """Before what loads the person: where the database is away, it is what an open page wants to hear of."""
    if request.endpoint == ENDPOINT and monitor().database_is_away():
        act_as(None)


def monitor() -> Monitor:
    """This application's."""
    made: Monitor = current_app.extensions["health"]
    return made


def page_signs() -> Sequence[Sign]:
    """What every page says first."""
    return monitor().health(max_age=PAGE_MAX_AGE, patience=PAGE_PATIENCE).signs
