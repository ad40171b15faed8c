"""R16 to R18: five projects with their own workers beside Beatdesk, and a worker, the broker or Beatdesk killed."""

from __future__ import annotations

from pathlib import Path

from tests import servers, valkey
from tests.adoption.cases import ALL, BROKERS, Case, choose
from tests.adoption.trial import Outcome, Trial
from tests.scheduler.beats import rig
from tests.soak.measure import Measure


def beside(name: str, killed: str, databases: servers.Databases, folder: Path, count: int) -> list[Measure]:
    """So many cases in which this is killed; what is odd about one is compared with the same case without Beatdesk."""
    every = [case for case in ALL if case.killed == killed]
    cases = choose(count, every)
    beyond = Outcome(0, 0)
    for case in cases:
        ours = _try(case, databases, folder / str(case), beside=True)
        bare = Outcome(0, 0)
        if ours.twice or ours.lost:
            bare = _try(case, databases, folder / f"{case}-bare", beside=False)
        beyond.twice += max(ours.twice - bare.twice, 0)
        beyond.lost += max(ours.lost - bare.lost, 0)
        for counted in ("delivered_again", "published_twice", "unaccounted", "unrecorded"):
            setattr(beyond, counted, getattr(beyond, counted) + getattr(ours, counted))
    return [
        Measure(name, f"{len(cases)} projects, {killed} killed: twice beyond theirs", beyond.twice, bar=0),
        Measure(name, "lost beyond theirs", beyond.lost, bar=0),
        Measure(name, "delivered again by their broker, and executed", beyond.delivered_again),
        Measure(name, "messages that Beatdesk published twice", beyond.published_twice, bar=0),
        Measure(name, "due times without a run", beyond.unaccounted, bar=0),
        Measure(name, "executions without a run", beyond.unrecorded, bar=0),
    ]


def _try(case: Case, databases: servers.Databases, folder: Path, *, beside: bool) -> Outcome:
    folder.mkdir(parents=True)
    with BROKERS[case.broker](folder / "broker") as broker, valkey.running(folder) as own:
        settings = servers.settings(databases.sqlite(), own.url, data=folder, broker_url=broker.url)
        with rig(settings.database_url) as made:
            return Trial(case, broker, settings, made, folder / "shop", beside=beside).run()
