"""Health checks, whose results the banner of every page, `/readyz`, `/metrics` and programs share.

1. Database, Redis and broker are checked in parallel, each in its own thread (under gevent, a greenlet), on demand and
   at most once in `interval` seconds. So pages do not wait for checks, and each part has at most one in progress.
2. A caller says how old the results may be, and how long to wait for newer ones. A page waits only if the last results
   are old, which they are after a time without requests.
3. A part whose check fails or takes longer than `CHECK_TIMEOUT` counts as down. It then has only the sign for that.
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
from webapp.overview.sign import Sign
from webapp.web.access import act_as

logger = logging.getLogger(__name__)

# All in seconds. How long `/readyz` waits, and after how long a check counts as failed.
READY_TIMEOUT = 3.0
CHECK_TIMEOUT = 2.5
# A page waits for newer results only if a check is overdue by more than the first, and no longer than the second.
PAGE_MAX_AGE = 3.0
PAGE_TIMEOUT = 0.25

# The endpoint that open pages poll.
ENDPOINT = "overview.what_is_wrong"
OK = "ok"
UNKNOWN = "unknown"
# The checks that `/readyz` lists, by the part that determines them.
CHECKS = {
    "database": ("database", "beat", "worker"),
    "redis": ("redis", "recorder"),
    "broker": ("broker",),
}


@dataclass(frozen=True, slots=True)
class Health:
    """All current problems, the worst first, and each check of `/readyz`: "ok", or the problem in a few words."""

    signs: Sequence[Sign]
    checks: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether everything that a run needs is available."""
        return all(word == OK for word in self.checks.values())


@dataclass(slots=True)
class _Part:
    """A server that is checked at most once in `interval` seconds: each check of the broker takes a connection."""

    name: str
    check: Callable[[], list[Sign]]
    interval: float
    signs: list[Sign] | None = None
    checked_at: float = field(default=float("-inf"))
    started_at: float | None = None
    failing_since: datetime | None = None

    def age(self, at: float) -> float:
        return at - self.checked_at

    def is_down(self, at: float) -> bool:
        if self.started_at is not None and at - self.started_at > CHECK_TIMEOUT:
            self.failing_since = self.failing_since or now()
        return self.failing_since is not None


class Monitor:
    """Runs the checks and stores their results. One in each process; any number of threads may use it."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._changed = threading.Condition()
        self._parts = (
            _Part("database", signs.database_signs, 1.0),
            _Part("redis", signs.redis_signs, 1.0),
            _Part("broker", signs.broker_signs, 5.0),
        )

    def health(self, *, max_age: float = 0.0, timeout: float = READY_TIMEOUT) -> Health:
        """The latest results; waits up to `timeout` seconds for checks overdue by more than `max_age`. Never raises."""
        give_up = time.monotonic() + timeout
        with self._changed:
            for part in self._parts:
                self._start(part, time.monotonic())
            while any(self._is_overdue(part, max_age) for part in self._parts):
                if not self._changed.wait(give_up - time.monotonic()):
                    break
            return self._compose(time.monotonic())

    def database_is_down(self) -> bool:
        """Whether the database was down at the last check."""
        return self.health(timeout=0.0).checks["database"] == signs.DOWN

    def _start(self, part: _Part, at: float) -> None:
        if part.started_at is None and part.age(at) >= part.interval:
            part.started_at = at
            threading.Thread(target=self._check, args=(part, at), name=f"health-{part.name}", daemon=True).start()

    def _is_overdue(self, part: _Part, max_age: float) -> bool:
        at = time.monotonic()
        return part.started_at is not None and part.age(at) > max_age + part.interval and not part.is_down(at)

    def _check(self, part: _Part, at: float) -> None:
        read_only.set(True)
        found: list[Sign] | None = None
        try:
            with self._app.app_context():
                found = part.check()
        except Exception as error:  # noqa: BLE001  # any error means that the part is down
            if part.failing_since is None:
                logger.warning("%s does not answer: %s", part.name, error)
        with self._changed:
            part.started_at, part.checked_at = None, at
            if found is None:
                part.failing_since = part.failing_since or now()
            else:
                part.signs, part.failing_since = found, None
            self._changed.notify_all()

    def _compose(self, at: float) -> Health:
        found: list[Sign] = []
        checks: dict[str, str] = {}
        for part in self._parts:
            if part.is_down(at):
                found.append(replace(signs.DOWN_SIGNS[part.name], since=part.failing_since))
                result = UNKNOWN
            else:
                found += part.signs or []
                result = OK if part.signs is not None else UNKNOWN
            checks |= dict.fromkeys(CHECKS[part.name], result)
        checks |= {sign.key: sign.check for sign in found if sign.check}
        return Health(sorted(found, key=lambda sign: sign.severity), checks)


def init_health(app: Flask) -> None:
    """Set up the monitor of the application. Nothing is checked before the first request needs it."""
    app.extensions["health"] = Monitor(app)
    app.jinja_env.globals["health_signs"] = page_signs
    app.before_request(_skip_sign_in_without_database)


def _skip_sign_in_without_database() -> None:
    """Handle polling for problems anonymously while the database is down, so that open pages show that it is."""
    if request.endpoint == ENDPOINT and monitor().database_is_down():
        act_as(None)


def monitor() -> Monitor:
    """The monitor of the current application."""
    made: Monitor = current_app.extensions["health"]
    return made


def page_signs() -> Sequence[Sign]:
    """The problems that every page shows at its top."""
    return monitor().health(max_age=PAGE_MAX_AGE, timeout=PAGE_TIMEOUT).signs
