"""Reads single settings from a mapping of names to texts. Each function raises ConfigError with the setting's name."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from webapp.queue_names import refusal

REDIS = ("redis", "rediss")
CERTIFICATE_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
CERTIFICATE_CHECKS = ("required", "optional", "none")


class ConfigError(Exception):
    """An invalid setting. The text is one line with the variable's name and what to do."""


def integer(given: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    """A whole number within limits, both included."""
    text = given.get(name, str(default))
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}.") from None
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}, not {value}.")
    return value


def choice(given: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """One of the allowed values."""
    value = given.get(name, default)
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def switch(given: Mapping[str, str], name: str, default: str = "0") -> bool:
    """A setting that is on or off."""
    return choice(given, name, default, ("0", "1", "true", "false", "True", "False")) in ("1", "true", "True")


def url(given: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    """An address with one of the schemes."""
    value = given.get(name, default)
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{name} is not an address: {error}.") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"{name} must look like {schemes[0]}://HOST/…; allowed schemes: {', '.join(schemes)}.")
    return value


def server_url(name: str, value: str) -> str:
    """The address of another Redis, checked like `REDIS_URL`; `name` is its option. Raises ConfigError."""
    return server({name: value}, name, value, REDIS)


def server(given: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    """The address of Redis or the broker, with TLS options that redis-py, kombu and Celery all understand."""
    value = url(given, name, default, schemes)
    parts = urlsplit(value)
    if parts.scheme not in REDIS:
        return value
    options = dict(parse_qsl(parts.query))
    tls = {option: text for option, text in options.items() if option.startswith("ssl_")}
    if parts.scheme == "redis":
        if tls:
            raise ConfigError(f"{name} has the option {next(iter(tls))}, which needs rediss:// instead of redis://.")
        return value
    for option, text in tls.items():
        if option in CERTIFICATE_FILES:
            _require_file(name, option, text)
        elif option != "ssl_cert_reqs":
            known = ", ".join(("ssl_cert_reqs", *CERTIFICATE_FILES))
            raise ConfigError(f"{name} has an unknown option {option}; those for certificates are {known}.")
    # Celery requires it; the others do not understand Celery's own spelling (CERT_REQUIRED).
    checks = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if checks not in CERTIFICATE_CHECKS:
        raise ConfigError(f"{name} has ssl_cert_reqs={checks}; it must be one of {', '.join(CERTIFICATE_CHECKS)}.")
    return parts._replace(query=urlencode({**options, "ssl_cert_reqs": checks}, safe="/")).geturl()


def _require_file(name: str, option: str, path: str) -> None:
    try:
        Path(path).open("rb").close()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{name} names a file by {option} that cannot be read: {path} ({reason}).") from None


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def json_object(given: Mapping[str, str], name: str, example: str) -> dict[str, Any]:
    """A JSON object; empty if the setting is not there."""
    try:
        value = json.loads(given.get(name, "{}"))
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}. An example: {example}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a JSON object, for example {example}")
    return value


def tls_options(given: Mapping[str, str], name: str) -> bool | dict[str, Any]:
    """Options of TLS. Certificate checks are named as in a URL or as in Python: required, CERT_REQUIRED."""
    text = given.get(name, "false")
    if text.lower() in ("0", "1", "true", "false"):
        return text.lower() in ("1", "true")
    options = json_object({name: text}, name, json.dumps({"ssl_ca_certs": "/etc/ssl/redis-ca.pem"}))
    for option in ("ssl_cert_reqs", "cert_reqs"):
        if isinstance(checks := options.get(option), str):
            try:
                options[option] = ssl.VerifyMode[f"CERT_{checks.upper().removeprefix('CERT_')}"]
            except KeyError:
                raise ConfigError(f"{name} has {option} {checks!r}; it must be required, optional or none.") from None
    return options


def queue(given: Mapping[str, str], name: str, default: str) -> str:
    """The name of a queue."""
    return _valid_queue(name, given.get(name, default))


def _valid_queue(name: str, queue: str) -> str:
    if reason := refusal(queue):
        raise ConfigError(f"{name} names a queue {queue!r}. {reason}")
    return queue


def routes(given: Mapping[str, str], name: str) -> dict[str, dict[str, Any]]:
    """Routes by the name of a task or a pattern, such as `shop.*`. A text is the name of a queue."""
    example = '{"shop.*": {"queue": "shop"}}'
    found: dict[str, dict[str, Any]] = {}
    for pattern, target in json_object(given, name, example).items():
        route = {"queue": target} if isinstance(target, str) else target
        if not isinstance(route, dict):
            raise ConfigError(f"{name} must give each pattern a queue, for example {example}")
        if "queue" in route:
            _valid_queue(name, str(route["queue"]))
        found[pattern] = route
    return found
