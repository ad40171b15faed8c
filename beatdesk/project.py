"""What the server needs to know of a Celery project, as environment variables of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit
from zoneinfo import available_timezones

if TYPE_CHECKING:
    # Not needed to run, and slow to import for a server that asks for its folder.
    from celery import Celery

REDIS = ("redis", "rediss")
# All that the server gets of their environment: their settings may have the names of its own, such as DATABASE_URL,
# and their secrets are none of its business.
_LOCALE = ("LANG", "LANGUAGE", "NO_COLOR", "TERM", "TZ", "VERBOSE")
_SYSTEM = {"HOME", "LOGNAME", "PATH", "SHELL", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "USER", *_LOCALE}
_PREFIXES = ("BEATDESK_", "LC_", "XDG_")
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def server_environment(app: Celery, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server for a finalized app. Variables named BEATDESK_… that are set stay as they are."""
    kept = {name: text for name, text in environ.items() if name in _SYSTEM or name.startswith(_PREFIXES)}
    found = {f"BEATDESK_{name}": text for name, text in _settings(app).items() if text}
    made = {**found, **kept, "PYTHONSAFEPATH": "1"}
    folder = Path(made.get("BEATDESK_DATA") or user_data_folder(environ) / _name_of(made["BEATDESK_CELERY_BROKER_URL"]))
    return {**made, "BEATDESK_DATA": str(folder.absolute())}


def user_data_folder(environ: Mapping[str, str]) -> Path:
    """The folder with the data of this user's installations."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "beatdesk"


def timezone_of(app: Celery) -> str:
    """The IANA name of their time zone; UTC if it has no such name."""
    name = str(app.timezone)
    return name if name in available_timezones() else "UTC"


def _settings(app: Celery) -> dict[str, str]:
    conf, broker = app.conf, _broker(app)
    tls = conf.broker_use_ssl
    backend = str(conf.result_backend or "")
    return {
        "CELERY_BROKER_URL": broker,
        "CELERY_BROKER_TRANSPORT_OPTIONS": _json(conf.broker_transport_options),
        "CELERY_BROKER_USE_SSL": _json(tls),
        "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": _json(conf.result_backend_transport_options),
        "CELERY_TASK_DEFAULT_QUEUE": str(conf.task_default_queue),
        "CELERY_TASK_ROUTES": _json(_routes(conf.task_routes)),
        # Another kind of backend stays theirs alone.
        "CELERY_RESULT_BACKEND": backend if urlsplit(backend).scheme in REDIS else "",
        "TIMEZONE": timezone_of(app),
        # Where their workers look for it as well.
        "REDIS_URL": _redis(broker, tls) if urlsplit(broker).scheme in REDIS else "",
    }


def _broker(app: Celery) -> str:
    """The address of the broker, of several the first one, with the parts that Celery completes."""
    connection = app.connection_for_write()
    given = str(connection.alt[0] if connection.alt else app.conf.broker_write_url or "")
    return given if urlsplit(given).hostname else str(connection.as_uri(include_password=True))


def _routes(given: Any) -> dict[str, dict[str, Any]]:
    """The routes that are written down, by a name or a pattern; the first one wins. Routers are left out."""
    found: dict[str, dict[str, Any]] = {}
    for routes in given if isinstance(given, list | tuple) else [given]:
        pairs = routes.items() if isinstance(routes, Mapping) else routes if isinstance(routes, list | tuple) else ()
        for name, target in pairs:
            if isinstance(name, str):
                route = target if isinstance(target, Mapping) else {"queue": target}
                # A queue may be an object.
                found.setdefault(name, {key: getattr(value, "name", value) for key, value in route.items()})
    return found


def _redis(broker: str, tls: Any) -> str:
    """The same Redis for a client that knows addresses only: TLS options are part of the address."""
    if not tls:
        return broker
    given = tls if isinstance(tls, Mapping) else {}
    options = {name: str(_plain(given[name])) for name in _TLS_OPTIONS if given.get(name) is not None}
    if "ssl_cert_reqs" in options:
        options["ssl_cert_reqs"] = options["ssl_cert_reqs"].removeprefix("CERT_").lower()
    return urlsplit(broker)._replace(scheme="rediss", query=urlencode(options, safe="/")).geturl()


def _json(value: Any) -> str:
    """A setting as JSON without the parts that JSON does not have, such as functions; empty if there is none."""
    if not value:
        return ""
    if isinstance(value, Mapping):
        value = {str(name): plain for name, inner in value.items() if (plain := _plain(inner)) is not None}
    return json.dumps(value)


def _plain(value: Any) -> Any:
    """A value that JSON has; `ssl.CERT_REQUIRED` by its name, None for all others."""
    if isinstance(value, Enum):
        return value.name
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def _name_of(broker: str) -> str:
    """A folder for each broker, because an installation belongs to one: its address without who signs in."""
    parts = urlsplit(broker)
    path = parts.path.strip("/") or "0"
    return re.sub(r"[^\w.-]+", "-", f"{parts.hostname}-{parts.port or parts.scheme}-{path}")
