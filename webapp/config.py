"""Settings: the only place that reads the environment.

`Settings.from_env` turns environment variables into one frozen value, and refuses an invalid one with the variable's
name and what to do. All other code takes the values that it needs as arguments.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from webapp import setting_values as read
from webapp.queue_names import refusal

ConfigError = read.ConfigError

DEFAULT_TIMEZONE = "Asia/Kathmandu"
MINIMUM_SECRET_LENGTH = 16
DEFAULT_TIME_LIMITS = (240, 270)
MAX_TIME_LIMIT = 31 * 24 * 3600
# Paths that browsers, cookies and proxies all treat alike.
PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)*", re.ASCII)

# Of every setting; one that does not begin with it has this prefix too.
PREFIX = "BEATDESK_"
# Kubernetes tells every program the addresses of services. Those of one named `beatdesk` are in variables such as
# BEATDESK_PORT=tcp://10.0.0.1:80, BEATDESK_SERVICE_HOST, BEATDESK_PORT_80_TCP.
SERVICE_VARIABLE = re.compile(r"BEATDESK_(\w+_)?(SERVICE_(HOST|PORT)|PORT_\d+_)\w*")
SERVICE_ADDRESS = ("tcp://", "udp://", "sctp://")
NAMES = frozenset(
    """
    ADMIN_EMAIL ADMIN_PASSWORD BEATDESK_DATA BEATDESK_MAILBOX CELERY_BROKER_TRANSPORT_OPTIONS CELERY_BROKER_URL
    CELERY_BROKER_USE_SSL CELERY_RESULT_BACKEND CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS CELERY_TASK_DEFAULT_QUEUE
    CELERY_TASK_ROUTES CONFIRM_ADDRESSES DATABASE_URL HOST LEAP_DAY_BIRTHDAY MAIL_CA_FILE MAIL_DEFAULT_SENDER
    MAIL_PASSWORD MAIL_PORT MAIL_SERVER MAIL_TIMEOUT MAIL_USERNAME MAIL_USE_SSL MAIL_USE_TLS METRICS_TOKEN OBSERVE
    OBSERVE_ARGUMENTS PORT PUBLIC_URL REDIS_URL SECRET_KEY TASK_MODULES TASK_SOFT_TIME_LIMIT TASK_TIME_LIMIT TIMEZONE
    TRUSTED_PROXIES WEB_CONCURRENCY WORKER_QUEUES
    """.split()  # noqa: SIM905  # one a line would be a page
)


def variable(name: str) -> str:
    """The variable of a setting that wins over its plain name, such as BEATDESK_PORT over PORT."""
    return name if name.startswith(PREFIX) else PREFIX + name


def given_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in an environment, by their plain names. An empty variable counts as not set."""
    given = {}
    for name in NAMES:
        if value := _text(environ, variable(name)) or _text(environ, name):
            given[name] = value
    return given


def _text(environ: Mapping[str, str], variable: str) -> str:
    text = environ.get(variable, "").strip()
    return "" if text.startswith(SERVICE_ADDRESS) else text


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like a setting of Beatdesk and is none."""
    known = {variable(name): name for name in NAMES}
    lines = []
    for name in sorted(environ):
        of_service = SERVICE_VARIABLE.fullmatch(name) or environ[name].startswith(SERVICE_ADDRESS)
        if name.startswith(PREFIX) and name not in known and not of_service:
            near = difflib.get_close_matches(name.removeprefix(PREFIX), known.values(), 1)
            lines.append(f"Beatdesk has no setting {name}." + (f" Did you mean {variable(near[0])}?" if near else ""))
    return lines


def with_variables(text: str, environ: Mapping[str, str]) -> str:
    """A text that names settings, with the names of the variables that they were read from."""
    prefixed = [name for name in NAMES if (value := _text(environ, variable(name))) and value != _text(environ, name)]
    return re.sub(rf"(?<![\w/:@.$])({'|'.join(prefixed)})\b", rf"{PREFIX}\1", text) if prefixed else text


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
class ProjectSettings:
    """What Beatdesk has to know of the Celery settings of the project on its broker, under their names in Celery.

    `task_routes` are for tasks that only the workers of the project have. Time limits, serializers and the time zone of
    a project are not among them: a message for a task of another project sets none, so its worker's own apply.
    """

    broker_transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    broker_use_ssl: bool | Mapping[str, Any] = field(default=False, repr=False)
    result_backend_transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    task_default_queue: str = "celery"
    task_routes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


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
    project: ProjectSettings = field(default_factory=ProjectSettings)
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
        try:
            return cls._read(given_settings(source))
        except ConfigError as error:
            raise ConfigError(with_variables(str(error), source)) from None

    @classmethod
    def _read(cls, given: Mapping[str, str]) -> Settings:
        data = Path(given.get("BEATDESK_DATA", "var"))
        port = read.integer(given, "PORT", 5000, low=1, high=65535)
        host = given.get("HOST", "127.0.0.1").removeprefix("[").removesuffix("]")
        soft_time_limit, time_limit = _time_limits(given)
        redis_url = read.server(given, "REDIS_URL", "redis://127.0.0.1:6379/0", read.REDIS)
        # Results must not share a database with the broker's queues.
        default_backend = urlsplit(redis_url)._replace(path="/1").geturl()
        return cls(
            database_url=_database_url(given, data),
            redis_url=redis_url,
            broker_url=read.server(given, "CELERY_BROKER_URL", redis_url, (*read.REDIS, "amqp", "amqps", "pyamqp")),
            result_backend=read.server(given, "CELERY_RESULT_BACKEND", default_backend, read.REDIS),
            secret_key=_secret(given),
            timezone=_timezone(given),
            data=data,
            mail=_mail(given),
            project=_project(given),
            task_modules=read.names(given.get("TASK_MODULES", "")),
            worker_queues=_queues(given),
            observe=read.switch(given, "OBSERVE", default="1"),
            observe_arguments=read.switch(given, "OBSERVE_ARGUMENTS", default="1"),
            task_soft_time_limit=soft_time_limit,
            task_time_limit=time_limit,
            host=host,
            port=port,
            web_processes=read.integer(given, "WEB_CONCURRENCY", 2, low=1, high=64),
            public_url=_public_url(given, f"http://{_local(host)}:{port}"),
            # Without PUBLIC_URL any host name may be right.
            check_host="PUBLIC_URL" in given,
            confirm_addresses=read.switch(given, "CONFIRM_ADDRESSES", default="1" if "MAIL_SERVER" in given else "0"),
            leap_day_birthday=read.choice(given, "LEAP_DAY_BIRTHDAY", "02-28", ("02-28", "03-01")),
            trusted_proxies=read.integer(given, "TRUSTED_PROXIES", 0, low=0, high=10),
            mailbox=Path(given["BEATDESK_MAILBOX"]) if "BEATDESK_MAILBOX" in given else None,
            admin_email=given.get("ADMIN_EMAIL"),
            admin_password=given.get("ADMIN_PASSWORD"),
            metrics_token=_metrics_token(given),
        )

    def with_changes(self, **changes: object) -> Settings:
        """A copy with some values replaced, for tests and benchmarks."""
        return replace(self, **changes)  # type: ignore[arg-type]  # dataclasses.replace has no typed keywords


def _time_limits(given: Mapping[str, str]) -> tuple[int | None, int | None]:
    """The soft and the hard limit. If only one is set, the other one is none."""
    names = ("TASK_SOFT_TIME_LIMIT", "TASK_TIME_LIMIT")
    if not any(name in given for name in names):
        return DEFAULT_TIME_LIMITS
    soft, hard = (
        None
        if given.get(name, "").lower() == "none"
        else read.integer(given, name, 0, low=0, high=MAX_TIME_LIMIT) or None
        for name in names
    )
    if soft and hard and soft >= hard:
        raise ConfigError(f"TASK_SOFT_TIME_LIMIT must be below TASK_TIME_LIMIT; {soft} is not below {hard}.")
    return soft, hard


def _public_url(given: Mapping[str, str], default: str) -> str:
    value = read.url(given, "PUBLIC_URL", default, ("http", "https")).rstrip("/")
    if not PATH.fullmatch(urlsplit(value).path) or "?" in value or "#" in value:
        raise ConfigError(
            "PUBLIC_URL must be a host, such as https://beat.example.com, or one with a path of plain letters and "
            "digits, such as https://example.com/beat."
        )
    return value


def _queues(given: Mapping[str, str]) -> tuple[str, ...] | None:
    if "WORKER_QUEUES" not in given:
        return None
    queues = tuple(dict.fromkeys(read.names(given["WORKER_QUEUES"])))
    if not queues:
        raise ConfigError("WORKER_QUEUES must name at least one queue, or be left out.")
    for name in queues:
        if reason := refusal(name):
            raise ConfigError(f"WORKER_QUEUES names a queue {name!r}. {reason}")
    return queues


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
    use_tls, use_ssl = read.switch(given, "MAIL_USE_TLS"), read.switch(given, "MAIL_USE_SSL")
    if use_tls and use_ssl:
        raise ConfigError("MAIL_USE_TLS and MAIL_USE_SSL exclude each other: STARTTLS (usual port 587) or TLS (465).")
    defaults = MailSettings()
    return MailSettings(
        server=given.get("MAIL_SERVER", defaults.server),
        port=read.integer(given, "MAIL_PORT", 465 if use_ssl else 587 if use_tls else 25, low=1, high=65535),
        username=given.get("MAIL_USERNAME"),
        password=given.get("MAIL_PASSWORD"),
        use_tls=use_tls,
        use_ssl=use_ssl,
        sender=given.get("MAIL_DEFAULT_SENDER", defaults.sender),
        timeout=float(read.integer(given, "MAIL_TIMEOUT", 10, low=1, high=300)),
        ca_file=given.get("MAIL_CA_FILE"),
    )


def _project(given: Mapping[str, str]) -> ProjectSettings:
    example = '{"global_keyprefix": "shop:"}'
    return ProjectSettings(
        broker_transport_options=read.json_object(given, "CELERY_BROKER_TRANSPORT_OPTIONS", example),
        broker_use_ssl=read.tls_options(given, "CELERY_BROKER_USE_SSL"),
        result_backend_transport_options=read.json_object(given, "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS", example),
        task_default_queue=read.queue(given, "CELERY_TASK_DEFAULT_QUEUE", "celery"),
        task_routes=read.routes(given, "CELERY_TASK_ROUTES"),
    )
