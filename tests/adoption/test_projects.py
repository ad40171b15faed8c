"""Five projects beside Beatdesk, with something killed: a choice of cases. `make soak` tries them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adoption.cases import ALL, BROKERS, Broker, Case, choose, pairs
from tests.adoption.conftest import emptied
from tests.adoption.trial import Trial
from tests.scheduler.beats import Rig
from webapp.config import Settings

CASES = choose(10)


@pytest.fixture
def broker(request: pytest.FixtureRequest, case: Case, tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, but a RabbitMQ that is not killed, because one takes seconds to start."""
    if (case.broker, case.killed) in (("rabbitmq", "worker"), ("rabbitmq", "beatdesk")):
        yield Broker(emptied(request.getfixturevalue("rabbitmq_url")))
        return
    with BROKERS[case.broker](tmp_path / "broker") as server:
        yield server


@pytest.fixture
def settings(settings: Settings, broker: Broker) -> Settings:
    return settings.with_changes(broker_url=broker.url)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_project_goes_on_as_without_beatdesk(
    case: Case, broker: Broker, settings: Settings, beats: Rig, tmp_path: Path
) -> None:
    outcome = Trial(case, broker, settings, beats, tmp_path / "shop", beside=True).run()
    assert (outcome.twice, outcome.lost) == (0, 0), outcome
    assert (outcome.published_twice, outcome.unaccounted, outcome.unrecorded) == (0, 0, 0), outcome
    if case.killed == "beatdesk":
        assert outcome.delivered_again == 0, outcome


def test_the_choice_tries_most_pairs() -> None:
    everything = set().union(*map(pairs, ALL))
    tried = set().union(*map(pairs, CASES))
    left_out = {tuple(name for name, _ in pair) for pair in everything - tried}
    assert left_out <= {("project", "pool"), ("project", "killed"), ("pool", "killed")}
