"""What the main process of an adopted worker keeps in Redis."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import redis as redis_client
from celery import Celery
from celery.worker import state as worker_state

from beatdesk.adopted.host import RedisHost
from beatdesk.adopted.presence import _Presence
from beatdesk.execution.ids import new_id


def test_the_claim_of_a_run_that_takes_days_is_remembered(
    redis: redis_client.Redis, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, run_id = RedisHost(Celery("shop", broker=valkey_url, set_as_current=False), valkey_url), new_id()
    message = {"id": run_id, "retries": 2}
    key = host.over(run_id, message)[1]
    redis.set(key, "claimed", ex=60)
    monkeypatch.setattr(worker_state, "active_requests", [SimpleNamespace(request_dict=message)])
    _Presence(host).renew()
    assert int(str(redis.ttl(key))) > 23 * 3600
    assert redis.get(key) == "claimed"
