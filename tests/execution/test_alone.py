"""What happens around a task runs in any Celery project: without Flask, without SQLAlchemy, without our other rooms."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import redis as redis_client

from beatdesk.execution import run_task
from beatdesk.execution.events import STREAM, Entry, Event
from tests.execution import plain_worker

ROOT = Path(__file__).parents[2]


def test_a_plain_worker_executes_and_reports_runs(redis: redis_client.Redis, valkey_url: str) -> None:
    command = [sys.executable, "-m", plain_worker.__name__, valkey_url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert run_task.__name__ in found["modules"]
    entries = [Entry.parse(fields) for _, fields in redis.xrange(STREAM)]
    # On a slow machine these have entries of their own.
    entries = [entry for entry in entries if entry.event not in (Event.RECEIVED, Event.STARTED)]
    worked, failed = ([entry for entry in entries if entry.run_id == found[name]] for name in ("work", "fail"))
    # Its message came twice.
    assert [entry.event for entry in worked] == [Event.PROGRESS, Event.LINE, Event.SUCCEEDED]
    assert worked[-1].text == '"done"'
    assert [(entry.event, entry.text) for entry in failed] == [(Event.FAILED, "ValueError: below zero")]
