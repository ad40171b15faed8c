"""Tracebacks, with the frames of the project's own code: pure."""

from __future__ import annotations

import pytest

from webapp.runs.page import tracebacks

WHOLE = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/celery/app/trace.py", line 564, in trace_task
    R = retval = fun(*args, **kwargs)
                 ^^^^^^^^^^^^^^^^^^^^
  File "/srv/beatdesk/execution/run_task.py", line 49, in __call__
    return self.run(*args, **kwargs)
  File "/srv/shop/orders.py", line 12, in ship
    raise ValueError("no")
ValueError: no

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/orders.py", line 14, in ship
    json.loads("{")
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    return _default_decoder.decode(s)
KeyError: 'order'"""

OURS = """Traceback (most recent call last):
  File "/srv/shop/orders.py", line 12, in ship
    raise ValueError("no")
ValueError: no

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/shop/orders.py", line 14, in ship
    json.loads("{")
KeyError: 'order'"""


def test_frames_of_libraries_are_left_out() -> None:
    assert tracebacks.shortened(WHOLE) == OURS
    assert tracebacks.place(WHOLE) == "orders.py:14 in ship"


@pytest.mark.parametrize(
    "text", ["", OURS, "no traceback", 'File "/venv/site-packages/x.py", line 1, in x\n    y\nE: z']
)
def test_where_nothing_or_all_would_be_left_out_it_stays_whole(text: str) -> None:
    assert tracebacks.shortened(text) is None
