"""The state of a pool's new processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# As a worker's main process begins, and then one of its pool. billiard uses cffi if it is imported.
BEGIN = """
import gc, sys
import cffi
from wsgi import celery as app
from celery import signals
from celery.concurrency.prefork import process_initializer
app.loader.import_default_modules()
app.finalize()
signals.celeryd_init.send("w@h", instance=None, conf=app.conf, options={})
# The main process has it by then.
import celery.app.log
before = set(sys.modules)
frozen = gc.get_freeze_count()
process_initializer(app, "w@h")
print(sorted(set(sys.modules) - before), len(gc.get_objects()) < frozen / 10)
"""


def test_a_process_of_a_pool_imports_nothing_and_looks_through_nothing_of_its_parent(tmp_path: Path) -> None:
    environment = {**os.environ, "SECRET_KEY": "only-for-this-test-0123456789", "BEATDESK_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", BEGIN], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[] True\n"
