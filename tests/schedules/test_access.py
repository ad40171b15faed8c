from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.visitors import Visitor

Filled = Callable[..., dict[str, Any]]

READING = ["/schedules", "/schedules/{}", "/schedules/{}/in-force"]
OPERATING = ["pause", "resume"]
EDITING = ["", "enable", "disable", "delete"]


def test_a_viewer_reads_and_changes_nothing(visit: Callable[[str], Visitor], number: int, filled: Filled) -> None:
    viewer = visit("viewer")
    assert [viewer.get(path.format(number)).status_code for path in READING] == [200, 200, 200]
    for action in OPERATING + EDITING:
        assert viewer.post(f"/schedules/{number}/{action}".rstrip("/")).status_code == 403, action
    assert viewer.post("/schedules", filled(name="Mine")).status_code == 403
    assert viewer.post("/schedules/preview", filled()).status_code == 403
    assert viewer.get("/schedules/new").status_code == 403
    page = viewer.get(f"/schedules/{number}").text
    assert f'action="/schedules/{number}' not in page


def test_an_operator_pauses_and_does_not_edit(visit: Callable[[str], Visitor], number: int) -> None:
    operator = visit("operator")
    assert [operator.post(f"/schedules/{number}/{action}").status_code for action in OPERATING] == [303, 303]
    for action in EDITING:
        assert operator.post(f"/schedules/{number}/{action}".rstrip("/")).status_code == 403, action


def test_a_member_and_a_stranger_see_nothing(app: Any, visit: Callable[[str], Visitor], number: int) -> None:
    member = visit("member")
    assert [member.get(path.format(number)).status_code for path in READING] == [403, 403, 403]
    answer = app.test_client().get("/schedules")
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login")


def test_a_post_without_a_token_is_refused(scheduler: Visitor, number: int) -> None:
    assert scheduler.client.post(f"/schedules/{number}/delete").status_code == 400
    assert scheduler.get(f"/schedules/{number}").status_code == 200


@pytest.mark.parametrize("number", ["0", "4711", "99999999999999999999"])
def test_unknown_number_is_not_found(scheduler: Visitor, number: str) -> None:
    assert scheduler.get(f"/schedules/{number}").status_code == 404
    assert scheduler.post(f"/schedules/{number}/enable").status_code == 404
