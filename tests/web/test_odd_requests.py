"""Two thousand odd requests: none breaks a page, no row violates the schema. `make soak` sends ten times more."""

from __future__ import annotations

from flask import Flask

from tests.soak.requests import attack

SEED = 12


def test_no_request_breaks_anything(app: Flask) -> None:
    outcome = attack(app, 2_000, SEED)
    assert (outcome.broken[:5], outcome.outside[:5]) == ([], [])
    # They reach the views: many are done, many are refused by what is in them.
    assert min(outcome.statuses[status] for status in (200, 303, 403, 422)) >= 20, outcome.statuses
