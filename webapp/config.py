"""Settings: the only place that reads the environment.

`Settings.from_env` turns environment variables into one frozen value, and refuses an invalid one with the variable's
name and what to do. All other code takes the values that it needs as arguments.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from webapp.queue_names import refusal

DEFAULT_TIMEZONE = "Asia/Kathmandu"
MINIMUM_SECRET_LENGTH = 16
DEFAULT_TIME_LIMITS = (240, 270)
MAX_TIME_LIMIT = 31 * 24 * 3600
REDIS = ("redis", "rediss")
CERTIFICATE_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
CERTIFICATE_CHECKS = ("required", "optional", "none")
# Paths that browsers, cookies and proxies all treat alike.
PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)*", re.ASCII)


class ConfigError(Exception):
    """An invalid setting. The text is one line with the variable's name and what to do."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """The SMTP server for outgoing mail. `timeout` is in seconds, for each step of the SMTP conversation."""

    server: str = "127.0.0.1"
    port: int = 25
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    use_tls: bool = False
    use_ssl: bool = False
    sender: str = "Beatdesk <beatdesk@localhost>"
    timeout: float = 10.0
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. URLs have the forms of SQLAlchemy and Celery.

    `worker_queues` is None where the worker decides (see `webapp.worker_process.consumption`).
    """

    database_url: str
    redis_url: str
    broker_url: str
    result_backend: str
    secret_key: str = field(repr=False)
    timezone: str = DEFAULT_TIMEZONE
    data: Path = Path("var")
    mail: MailSettings = MailSettings()
    task_modules: tuple[str, ...] = ()
    task_soft_time_limit: int | None = DEFAULT_TIME_LIMITS[0]
    task_time_limit: int | None = DEFAULT_TIME_LIMITS[1]
    worker_queues: tuple[str, ...] | None = None
    observe: bool = True
    observe_arguments: bool = True
    host: str = "127.0.0.1"
    port: int = 5000
    web_processes: int = 2
    public_url: str = "http://127.0.0.1:5000"
    check_host: bool = False
    confirm_addresses: bool = False
    leap_day_birthday: str = "02-28"
    trusted_proxies: int = 0
    mailbox: Path | None = None
    admin_email: str | None = None
    admin_password: str | None = field(default=None, repr=False)
    metrics_token: str | None = field(default=None, repr=False)
    environment: str = "production"
    testing: bool = False

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of "today", and of schedules that have none of their own."""
        return ZoneInfo(self.timezone)

    @property
    def secure_cookies(self) -> bool:
        """Whether browsers use TLS, so that cookies can require it."""
        return self.public_url.startswith("https://")

    @property
    def root(self) -> str:
        """The path of PUBLIC_URL, which is the beginning of every address; "" if it has none."""
        return urlsplit(self.public_url).path

    @property
    def cookie_prefix(self) -> str:
        """The prefix of cookie names. Browsers accept both prefixes by TLS only, and `__Host-` only for the path /."""
        if not self.secure_cookies:
            return ""
        return "__Secure-" if self.root else "__Host-"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings, from this process's environment unless another one is given.

        Raises ConfigError for the first invalid one. An empty value counts as not set.
        """
        source = os.environ if environ is None else environ
        given = {name: value.strip() for name, value in source.items() if value.strip()}
        data = Path(given.get("BEATDESK_DATA", "var"))
        port = _integer(given, "PORT", 5000, low=1, high=65535)
        host = given.get("HOST", "127.0.0.1").removeprefix("[").removesuffix("]")
        soft_time_limit, time_limit = _time_limits(given)
        redis_url = _server(given, "REDIS_URL", "redis://127.0.0.1:6379/0", REDIS)
        # Results must not share a database with the broker's queues.
        default_backend = urlsplit(redis_url)._replace(path="/1").geturl()
        return cls(
            database_url=_database_url(given, data),
            redis_url=redis_url,
            broker_url=_server(given, "CELERY_BROKER_URL", redis_url, (*REDIS, "amqp", "amqps", "pyamqp")),
            result_backend=_server(given, "CELERY_RESULT_BACKEND", default_backend, REDIS),
            secret_key=_secret(given),
            timezone=_timezone(given),
            data=data,
            mail=_mail(given),
            task_modules=_names(given.get("TASK_MODULES", "")),
            worker_queues=_queues(given),
            observe=_switch(given, "OBSERVE", default="1"),
            observe_arguments=_switch(given, "OBSERVE_ARGUMENTS", default="1"),
            task_soft_time_limit=soft_time_limit,
            task_time_limit=time_limit,
            host=host,
            port=port,
            web_processes=_integer(given, "WEB_CONCURRENCY", 2, low=1, high=64),
            public_url=_public_url(given, f"http://{_local(host)}:{port}"),
            # Without PUBLIC_URL any host name may be right.
            check_host="PUBLIC_URL" in given,
            confirm_addresses=_switch(given, "CONFIRM_ADDRESSES", default="1" if "MAIL_SERVER" in given else "0"),
            leap_day_birthday=_choice(given, "LEAP_DAY_BIRTHDAY", "02-28", ("02-28", "03-01")),
            trusted_proxies=_integer(given, "TRUSTED_PROXIES", 0, low=0, high=10),
            mailbox=Path(given["BEATDESK_MAILBOX"]) if "BEATDESK_MAILBOX" in given else None,
            admin_email=given.get("ADMIN_EMAIL"),
            admin_password=given.get("ADMIN_PASSWORD"),
            metrics_token=_metrics_token(given),
        )

    def with_changes(self, **changes: object) -> Settings:
        """A copy with some values replaced, for tests and benchmarks."""
        return replace(self, **changes)  # type: ignore[arg-type]  # dataclasses.replace has no typed keywords


def _integer(given: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = given.get(name, str(default))
    try:
        value = int(text)
    except ValueError:
        raise ConfigError(f"{name} must be a whole number, not {text!r}.") from None
    if not low <= value <= high:
        raise ConfigError(f"{name} must be between {low} and {high}, not {value}.")
    return value


def _time_limits(given: Mapping[str, str]) -> tuple[int | None, int | None]:
    """The soft and the hard limit. If only one is set, the other one is none."""
    names = ("TASK_SOFT_TIME_LIMIT", "TASK_TIME_LIMIT")
    if not any(name in given for name in names):
        return DEFAULT_TIME_LIMITS
    soft, hard = (
        None if given.get(name, "").lower() == "none" else _integer(given, name, 0, low=0, high=MAX_TIME_LIMIT) or None
        for name in names
    )
    if soft and hard and soft >= hard:
        raise ConfigError(f"TASK_SOFT_TIME_LIMIT must be below TASK_TIME_LIMIT; {soft} is not below {hard}.")
    return soft, hard


def _choice(given: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = given.get(name, default)
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
    return value


def _switch(given: Mapping[str, str], name: str, default: str = "0") -> bool:
    return _choice(given, name, default, ("0", "1", "true", "false", "True", "False")) in ("1", "true", "True")


def _url(given: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    value = given.get(name, default)
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{name} is not an address: {error}.") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ConfigError(f"{name} must look like {schemes[0]}://HOST/…; allowed schemes: {', '.join(schemes)}.")
    return value


def _public_url(given: Mapping[str, str], default: str) -> str:
    value = _url(given, "PUBLIC_URL", default, ("http", "https")).rstrip("/")
    if not PATH.fullmatch(urlsplit(value).path) or "?" in value or "#" in value:
        raise ConfigError(
            "PUBLIC_URL must be a host, such as https://beat.example.com, or one with a path of plain letters and "
            "digits, such as https://example.com/beat."
        )
    return value


def server_url(name: str, value: str) -> str:
    """The address of another Redis, checked like `REDIS_URL`; `name` is its option. Raises ConfigError."""
    return _server({name: value}, name, value, REDIS)


def _server(given: Mapping[str, str], name: str, default: str, schemes: tuple[str, ...]) -> str:
    """The address of Redis or the broker, with TLS options that redis-py, kombu and Celery all understand."""
    value = _url(given, name, default, schemes)
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


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _queues(given: Mapping[str, str]) -> tuple[str, ...] | None:
    if "WORKER_QUEUES" not in given:
        return None
    names = tuple(dict.fromkeys(_names(given["WORKER_QUEUES"])))
    if not names:
        raise ConfigError("WORKER_QUEUES must name at least one queue, or be left out.")
    for name in names:
        if reason := refusal(name):
            raise ConfigError(f"WORKER_QUEUES names a queue {name!r}. {reason}")
    return names


def reachable(host: str) -> str:
    """The address at which this machine reaches a server that listens at `host`, which may mean all addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # it is compared, not bound


def _local(host: str) -> str:
    """The same in the form of a URL."""
    host = reachable(host)
    return f"[{host}]" if ":" in host else host


def with_driver(url: str) -> str:
    """A database's URL with our driver, psycopg 3, where it names another of PostgreSQL's, as hosting platforms do."""
    for alias in ("postgres://", "postgresql://", "postgresql+psycopg2://"):
        if url.startswith(alias):
            return "postgresql+psycopg://" + url.removeprefix(alias)
    return url


def _database_url(given: Mapping[str, str], data: Path) -> str:
    value = with_driver(given.get("DATABASE_URL", f"sqlite:///{(data / 'beatdesk.db').absolute()}"))
    if not value.startswith(("sqlite:///", "postgresql+psycopg://")):
        raise ConfigError("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    return value


def _secret(given: Mapping[str, str]) -> str:
    value = given.get("SECRET_KEY")
    if value is None:
        raise ConfigError(
            "SECRET_KEY is not set. Set it to a random text that all processes share, "
            f"for example {secrets.token_urlsafe(32)}. Or run this command in the folder where `make run` was started"
        )
    if len(value) < MINIMUM_SECRET_LENGTH:
        raise ConfigError(f"SECRET_KEY is too short: at least {MINIMUM_SECRET_LENGTH} characters.")
    return value


def _metrics_token(given: Mapping[str, str]) -> str | None:
    value = given.get("METRICS_TOKEN")
    if value is not None and (len(value) < MINIMUM_SECRET_LENGTH or not value.isascii()):
        raise ConfigError(f"METRICS_TOKEN must have at least {MINIMUM_SECRET_LENGTH} characters, all of them ASCII.")
    return value


def _timezone(given: Mapping[str, str]) -> str:
    value = given.get("TIMEZONE", DEFAULT_TIMEZONE)
    if value not in available_timezones():
        raise ConfigError(f"TIMEZONE must be an IANA name such as {DEFAULT_TIMEZONE} or UTC, not {value!r}.")
    return value


def _mail(given: Mapping[str, str]) -> MailSettings:
    use_tls, use_ssl = _switch(given, "MAIL_USE_TLS"), _switch(given, "MAIL_USE_SSL")
    if use_tls and use_ssl:
        raise ConfigError("MAIL_USE_TLS and MAIL_USE_SSL exclude each other: STARTTLS (usual port 587) or TLS (465).")
    defaults = MailSettings()
    return MailSettings(
        server=given.get("MAIL_SERVER", defaults.server),
        port=_integer(given, "MAIL_PORT", 465 if use_ssl else 587 if use_tls else 25, low=1, high=65535),
        username=given.get("MAIL_USERNAME"),
        password=given.get("MAIL_PASSWORD"),
        use_tls=use_tls,
        use_ssl=use_ssl,
        sender=given.get("MAIL_DEFAULT_SENDER", defaults.sender),
        timeout=float(_integer(given, "MAIL_TIMEOUT", 10, low=1, high=300)),
        ca_file=given.get("MAIL_CA_FILE"),
    )
