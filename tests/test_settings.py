"""Every setting is read from two variables, of which the one that begins with BEATDESK_ wins."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from webapp.config import NAMES, PREFIX, ConfigError, Settings, given_settings, unknown_settings, variable
from webapp.launcher.environment import NEEDED_BY

SECRET = "0123456789abcdef"  # no secret
# Two values of each setting that differ from each other and from the default.
VALUES: dict[str, tuple[str, str]] = {
    "ADMIN_EMAIL": ("a@example.com", "b@example.com"),
    "ADMIN_PASSWORD": ("one", "two"),
    "BEATDESK_DATA": ("/one", "/two"),
    "BEATDESK_MAILBOX": ("/one", "/two"),
    "CELERY_BROKER_TRANSPORT_OPTIONS": ('{"global_keyprefix": "a:"}', '{"global_keyprefix": "b:"}'),
    "CELERY_BROKER_URL": ("amqp://one//", "redis://two/0"),
    "CELERY_BROKER_USE_SSL": ("1", '{"cert_reqs": "CERT_REQUIRED"}'),
    "CELERY_RESULT_BACKEND": ("redis://one/1", "redis://two/1"),
    "CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS": ('{"global_keyprefix": "a:"}', '{"global_keyprefix": "b:"}'),
    "CELERY_TASK_DEFAULT_QUEUE": ("one", "two"),
    "CELERY_TASK_ROUTES": ('{"shop.*": "one"}', '{"shop.*": {"queue": "two"}}'),
    "CONFIRM_ADDRESSES": ("1", "true"),
    "DATABASE_URL": ("postgresql://one/x", "sqlite:////two.db"),
    "HOST": ("192.0.2.1", "192.0.2.2"),
    "LEAP_DAY_BIRTHDAY": ("03-01", "03-01"),
    "MAIL_CA_FILE": ("/one", "/two"),
    "MAIL_DEFAULT_SENDER": ("a@example.com", "b@example.com"),
    "MAIL_PASSWORD": ("one", "two"),
    "MAIL_PORT": ("2525", "2526"),
    "MAIL_SERVER": ("one", "two"),
    "MAIL_TIMEOUT": ("3", "4"),
    "MAIL_USERNAME": ("one", "two"),
    "MAIL_USE_SSL": ("1", "true"),
    "MAIL_USE_TLS": ("1", "true"),
    "METRICS_TOKEN": ("1" * 16, "2" * 16),
    "OBSERVE": ("0", "false"),
    "OBSERVE_ARGUMENTS": ("0", "false"),
    "PORT": ("8001", "8002"),
    "PUBLIC_URL": ("https://one.example.com", "https://two.example.com"),
    "REDIS_URL": ("redis://one/0", "redis://two/0"),
    "SECRET_KEY": ("1" * 16, "2" * 16),
    "TASK_MODULES": ("one", "two"),
    "TASK_SOFT_TIME_LIMIT": ("10", "20"),
    "TASK_TIME_LIMIT": ("10", "20"),
    "TIMEZONE": ("UTC", "Europe/Berlin"),
    "TRUSTED_PROXIES": ("1", "2"),
    "WEB_CONCURRENCY": ("3", "4"),
    "WORKER_QUEUES": ("one", "two"),
}
# Fields that no variable sets by itself.
COMPUTED = {"check_host", "environment", "testing", "mail", "project"}


def read(**given: str) -> Settings:
    return Settings.from_env({"SECRET_KEY": SECRET, **given})


def fields_of(settings: Settings) -> dict[str, Any]:
    """The values of all fields, those of groups of settings too."""
    found = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    for group in ("mail", "project"):
        part = found.pop(group)
        found |= {f"{group}.{field.name}": getattr(part, field.name) for field in dataclasses.fields(part)}
    return found


def test_the_names_are_those_that_are_read_and_those_of_the_readme() -> None:
    class Spy(dict[str, str]):
        def get(self, name: str, default: Any = None) -> Any:
            asked.add(name)
            return super().get(name, default)

        def __contains__(self, name: object) -> bool:
            asked.add(str(name))
            return super().__contains__(name)

        def __getitem__(self, name: str) -> str:
            asked.add(name)
            return super().__getitem__(name)

    asked: set[str] = set()
    Settings._read(Spy(SECRET_KEY=SECRET, TASK_TIME_LIMIT="1"))
    assert asked == NAMES == VALUES.keys()
    table = re.findall(r"^\| (`[A-Z_`, ]+`) \|", (Path(__file__).parent.parent / "README.md").read_text(), re.MULTILINE)
    assert {name for cell in table for name in re.findall(r"[A-Z_]+", cell)} == NAMES


def test_every_field_is_set_by_a_variable() -> None:
    default = fields_of(read())
    moved: set[str] = set()
    for name, (value, _) in VALUES.items():
        changed = fields_of(read(**{name: value}))
        moved |= {field for field, value in changed.items() if value != default[field]}
    assert default.keys() - moved <= COMPUTED


@pytest.mark.parametrize("name", sorted(VALUES))
def test_the_variable_with_the_prefix_wins(name: str) -> None:
    plain, prefixed = VALUES[name]
    expected = read(**{name: prefixed})
    if not name.startswith(PREFIX):
        assert read(**{name: plain, variable(name): prefixed}) == read(**{variable(name): prefixed}) == expected
        assert read(**{name: prefixed, variable(name): " "}) == expected
    assert expected != read()


@pytest.mark.parametrize(
    "name", ["PORT", "REDIS_URL", "DATABASE_URL", "METRICS_TOKEN", "CELERY_TASK_ROUTES", "TIMEZONE"]
)
def test_an_error_names_the_variable_that_was_set(name: str) -> None:
    for given in (name, variable(name)):
        with pytest.raises(ConfigError, match=rf"^{given} ") as caught:
            read(**{given: "?"})
        assert caught.value.__cause__ is None
    with pytest.raises(ConfigError, match=r"^BEATDESK_MAIL_USE_TLS and MAIL_USE_SSL exclude each other"):
        read(BEATDESK_MAIL_USE_TLS="1", MAIL_USE_SSL="1")
    with pytest.raises(ConfigError, match=r"^BEATDESK_REDIS_URL must look like redis://HOST/"):
        read(BEATDESK_REDIS_URL="?", BEATDESK_HOST="localhost")


def test_the_variables_of_a_project_are_not_settings() -> None:
    assert given_settings({"HOME": "/home/me", "BEATDESK_PATH": "/bin", "PORT": " 80 ", "HOST": ""}) == {"PORT": "80"}


def test_each_setting_that_may_have_a_secret_is_for_named_processes_only() -> None:
    may = re.compile("PASSWORD|USERNAME|SECRET|TOKEN|DATABASE|REDIS|BROKER|BACKEND")
    assert {name for name in NAMES if may.search(name)} == NEEDED_BY.keys()


def test_the_addresses_of_a_service_of_kubernetes_are_not_settings() -> None:
    address = "tcp://10.0.0.1:80"
    given = {
        "BEATDESK_PORT": address,
        "BEATDESK_PORT_80_TCP": address,
        "BEATDESK_PORT_80_TCP_ADDR": "10.0.0.1",
        "BEATDESK_SERVICE_HOST": "10.0.0.1",
        "BEATDESK_SERVICE_PORT": "80",
        "BEATDESK_REDIS_PORT": address,
        "BEATDESK_REDIS_SERVICE_PORT_REDIS": "80",
    }
    assert given_settings(given | {"PORT": "8000"}) == {"PORT": "8000"}
    assert unknown_settings(given) == []


def test_an_unknown_variable_is_reported_with_the_nearest_name() -> None:
    assert unknown_settings({variable(name): "" for name in NAMES}) == []
    assert unknown_settings({"BEATDESK_RDIS_URL": "", "BEATDESK_XYZZY": "", "RDIS_URL": ""}) == [
        "Beatdesk has no setting BEATDESK_RDIS_URL. Did you mean BEATDESK_REDIS_URL?",
        "Beatdesk has no setting BEATDESK_XYZZY.",
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CELERY_BROKER_TRANSPORT_OPTIONS", "shop:", "is not JSON"),
        ("CELERY_BROKER_TRANSPORT_OPTIONS", "[]", "must be a JSON object"),
        ("CELERY_BROKER_USE_SSL", '{"ssl_cert_reqs": "maybe"}', "ssl_cert_reqs 'maybe'; it must be required"),
        ("CELERY_TASK_DEFAULT_QUEUE", "unacked", "names a queue 'unacked'"),
        ("CELERY_TASK_ROUTES", '{"a": {"queue": "a b"}}', "names a queue 'a b'"),
        ("CELERY_TASK_ROUTES", '{"a": 3}', "must give each pattern a queue"),
    ],
)
def test_an_invalid_setting_of_a_project_is_refused(name: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name} .*{re.escape(reason)}"):
        read(**{name: value})
