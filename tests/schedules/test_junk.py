"""Whatever a request contains, the response is never a server error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.visitors import Visitor

pytestmark = [pytest.mark.each_database, pytest.mark.usefixtures("number")]

Filled = Callable[..., dict[str, Any]]

POSTS = [
    "/schedules", "/schedules/preview", "/schedules/import", "/schedules/1", "/schedules/1/run", "/schedules/1/dry-run",
    "/schedules/1/pause", "/schedules/1/resume", "/schedules/1/reset", "/schedules/1/skip", "/schedules/1/unskip",
    "/schedules/1/versions/1/restore", "/schedules/1/versions/99999999999/restore", "/schedules/bulk/pause",
    "/schedules/bulk/tag", "/schedules/bulk/run",
]  # fmt: skip
BODIES: list[Any] = [
    [], 3, "text", None, {}, {"": ""},
    {"name": ["\ud800"], "args": {"a": ["\x00"]}, "tags": 7, "version": {}, "kind": []},
    {"reason": "\x00", "until": 10**30, "file": [1], "apply": 1, "ids": 5, "field": 5, "all": 1, "add": "\ud800"},
    {"ids": [1, "x", None, {}], "field": [None], "schedule_id": "1", "timezone": "\x00", "crontab": "\ud800 * * * *"},
    {"args": "[1e999]", "kwargs": "{\"\\u0000\": 1}", "kind": "clocked", "at": "9999-12-31T23:59:59-23:59"},
    {"start": "0001-01-01T00:00+14:00", "end": "0001-01-01", "every": 10**30, "kind": "interval", "period": "days"},
]  # fmt: skip
GETS = [
    "/schedules?q=%00&after=%ff&before=%ED%A0%80", "/schedules?tag=%25&task='&status=%00", "/schedules/new?clone=x",
    "/schedules/rehearsal?from=%00&to=9999-12-31", "/schedules/rehearsal?from=9998-12-31T00:00",
    "/schedules/1/why?due=%00", "/schedules/1/why?due=9999-12-31T23:59:59-23:59", "/schedules/1/why?due=0001-01-01",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_posts(scheduler: Visitor, path: str) -> None:
    codes = [scheduler.post_json(path, body).status_code for body in BODIES]
    codes += [
        scheduler.post(path, {name: str(value) for name, value in body.items()}).status_code
        for body in BODIES
        if isinstance(body, dict) and "\ud800" not in str(body) and not repr(body).count("\\ud800")
    ]
    assert [code for code in codes if code >= 500] == []


@pytest.mark.parametrize("path", GETS)
def test_gets(scheduler: Visitor, path: str) -> None:
    assert scheduler.get(path).status_code < 500
    assert scheduler.get(path, accept="application/json").status_code < 500
