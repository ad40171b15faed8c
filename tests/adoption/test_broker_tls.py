"""TLS options of a project's app, in place of those in an address, reach every connection to its broker."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests import tls
from tests.mail.servers import make_certificate
from tests.support import fresh
from webapp.config import Settings
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.runs import control

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("certificate"), tls.HOST)


@pytest.fixture(params=["trusted", "unknown"])
def trusted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "trusted")


@pytest.fixture
def settings(
    settings: Settings, each_broker: str, certificate: tuple[Path, ssl.SSLContext], trusted: bool
) -> Iterator[Settings]:
    parts = urlsplit(each_broker)
    assert parts.port is not None
    prefix = "ssl_" if parts.scheme == "redis" else ""
    options = {f"{prefix}cert_reqs": "required"} | ({f"{prefix}ca_certs": str(certificate[0])} if trusted else {})
    with tls.in_front_of(parts.port, certificate[1]) as front:
        address = parts._replace(netloc=parts.netloc.replace(str(parts.port), str(front))).geturl()
        given = {"CELERY_BROKER_URL": address, "CELERY_BROKER_USE_SSL": json.dumps(options)}
        read = Settings.from_env({"SECRET_KEY": "0123456789abcdef", **given})
        yield settings.with_changes(broker_url=read.broker_url, project=read.project)


def test_messages_are_sent_by_tls_where_the_certificate_is_trusted(context: Flask, trusted: bool) -> None:
    run = control.launch("add", [1, 1])
    assert (fresh(Run, run.id).sends > 0) is trusted
    if trusted:
        assert broker.queue_depths([DEFAULT_QUEUE]) == {DEFAULT_QUEUE: 1}
    else:
        with pytest.raises(broker.BrokerAway, match=r"(?i)certificate|did not answer a moment ago"):
            broker.queue_depths([DEFAULT_QUEUE])
