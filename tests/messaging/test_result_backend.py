"""A result that cannot be stored fails no run."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis as redis_client
from celery import states
from celery.app.backends import by_url
from flask import Flask
from kombu.exceptions import EncodeError

from beatdesk.execution.events import STREAM
from tests.outages import NOWHERE
from tests.runs.making import deliver
from webapp.config import Settings
from webapp.extensions import celery


def backend(address: str) -> Any:
    """The result backend that a worker makes of its settings."""
    made, url = by_url(address, celery.loader)
    found = made(app=celery, url=url)
    found.base_sleep_between_retries_ms = 0
    return found


def test_a_run_succeeds_although_its_result_cannot_be_stored(
    context: Flask, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    celery.loader.import_default_modules()
    task = celery.tasks["add"]
    monkeypatch.setattr(task, "_backend", backend(NOWHERE))
    ended = deliver(task, str(uuid.uuid4()), [1, 2])
    assert (ended.retval, ended.info) == (3, None)
    # That it began is said by itself where the result backend has been tried for longer than a moment.
    emitted = [fields["event"] for _, fields in redis.xrange(STREAM) if fields["event"] != "started"]
    assert emitted == ["succeeded"]


def test_what_is_not_json_is_still_refused(context: Flask, settings: Settings, redis: redis_client.Redis) -> None:
    with pytest.raises(EncodeError):
        backend(settings.result_backend).store_result("r", object(), states.SUCCESS)
