"""Prepares the main process once, so that the processes of its pool need not each do the same.

A process of a pool is replaced after a number of tasks, and begins with whatever its main process has in memory.
"""

from __future__ import annotations

import gc
from contextlib import suppress
from importlib import import_module
from typing import Any

from celery import signals

# billiard asks cffi for one function of the C library in each process, and cffi imports a parser of C for it: three
# quarters of what a new process takes to be ready. cffi comes with other packages, or not at all.
PARSER = "cffi.cparser"


@signals.celeryd_init.connect
def _prepare(**_: Any) -> None:
    with suppress(ImportError):
        import_module(PARSER)
    # A process that looks through these objects for garbage copies the memory that they lie in.
    gc.collect()
    gc.freeze()
