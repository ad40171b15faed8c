"""`rediss://` alone, as in the README, serves every part of an installation, and verifies certificates."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from celery.result import AsyncResult
from flask import Flask

from tests import processes, tls
from tests.mail.servers import make_certificate
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp.config import ConfigError, Settings
from webapp.extensions import celery
from webapp.messaging import broker


def read(url: str) -> Settings:
    """The settings with this REDIS_URL alone."""
    return Settings.from_env({"SECRET_KEY": "0123456789abcdef", "REDIS_URL": url})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that no system trusts, and its server's side."""
    return make_certificate(tmp_path_factory.mktemp("certificate"), tls.HOST)


@pytest.fixture
def address(valkey_url: str, certificate: tuple[Path, ssl.SSLContext]) -> Iterator[str]:
    """The run's Valkey by TLS."""
    port = urlsplit(valkey_url).port
    assert port is not None
    with tls.in_front_of(port, certificate[1]) as front:
        yield f"rediss://{tls.HOST}:{front}/0"


@pytest.fixture
def settings(settings: Settings, address: str, certificate: tuple[Path, ssl.SSLContext]) -> Settings:
    """All three addresses are made of REDIS_URL."""
    given = read(f"{address}?ssl_ca_certs={certificate[0]}")
    return settings.with_changes(
        redis_url=given.redis_url, broker_url=given.broker_url, result_backend=given.result_backend
    )


@pytest.mark.slow
def test_a_run_goes_there_and_back_by_tls(context: Flask, settings: Settings) -> None:
    operator = Visitor(context, "operator")
    with processes.recorder(settings), processes.worker(settings, "--pool", "solo"):
        task_id = operator.post_json("/add-numbers/", {"num1": 2, "num2": 3}).get_json()["task_id"]
        path = f"/task-result/{task_id}/"
        wait_for(lambda: operator.get(path, accept="application/json").get_json()["status"] == "succeeded", seconds=20)
        assert AsyncResult(task_id, app=celery).get(timeout=10) == 5


def test_a_certificate_that_is_not_trusted_is_refused(context: Flask, address: str) -> None:
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        broker.connect(read(address).redis_url).ping()


@pytest.mark.parametrize("spelled", ["none", "CERT_NONE"])
def test_certificates_are_not_verified_if_disabled_explicitly(context: Flask, address: str, spelled: str) -> None:
    assert broker.connect(read(f"{address}?ssl_cert_reqs={spelled}").redis_url).ping()


def test_certificates_are_required_by_default() -> None:
    given = read("rediss://:p%40ss@redis.example.com:6380/3")
    assert given.redis_url == given.broker_url == "rediss://:p%40ss@redis.example.com:6380/3?ssl_cert_reqs=required"
    assert given.result_backend == "rediss://:p%40ss@redis.example.com:6380/1?ssl_cert_reqs=required"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs=maybe; it must be one of required, optional, none."),
        ("rediss://h?ssl_check_hostname=false", "unknown option ssl_check_hostname; those for certificates are "),
        ("rediss://h?ssl_ca_certs=/no/such.pem", "ssl_ca_certs that cannot be read: /no/such.pem (no such file or dir"),
        ("redis://h?ssl_ca_certs=/no/such.pem", "ssl_ca_certs, which needs rediss:// instead of redis://."),
    ],
)
@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"])
def test_options_that_cannot_work_are_refused_by_the_settings_name(name: str, url: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings.from_env({"SECRET_KEY": "0123456789abcdef", name: url})
    line = str(refused.value)
    assert line.startswith(f"{name} ")
    assert reason in line
