"""Gunicorn's configuration as gunicorn itself reads it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
CONFIGURED = [str(Path(sys.executable).parent / "gunicorn"), "--config", "python:webapp.gunicorn", "wsgi:app"]


def gunicorn(*options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.defpath, "SECRET_KEY": "a secret for the tests only", **settings}
    return subprocess.run([*CONFIGURED, *options], env=environ, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("settings", "bind"),
    [
        ({}, "['127.0.0.1:5000']"),
        ({"HOST": "0.0.0.0", "PORT": "8000"}, "['0.0.0.0:8000']"),
        ({"HOST": "::1"}, "['[::1]:5000']"),
    ],
)
def test_it_listens_where_host_and_port_say(settings: dict[str, str], bind: str, tmp_path: Path) -> None:
    done = gunicorn("--print-config", BEATDESK_DATA=str(tmp_path), WEB_CONCURRENCY="3", **settings)
    values = {name.strip(): value for name, _, value in (line.partition(" = ") for line in done.stdout.splitlines())}
    assert values["bind"] == bind
    assert values["workers"] == "3"
    assert values["worker_class"] == "gevent"
    assert values["control_socket_disable"] == "True"


def test_a_wrong_setting_is_one_line() -> None:
    done = gunicorn("--check-config", TIMEZONE="Mars/Olympus")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("TIMEZONE must be")
