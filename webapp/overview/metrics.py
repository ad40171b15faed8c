"""The metrics of `/metrics`, read from database, Redis and broker at each request, so that all web processes agree.

The cost does not grow with the number of stored runs: counts follow an index and stop at `MAX_COUNTED`, all else is
about what runs or waits now. If a part is down, its metrics are left out and its `beatdesk_up` is 0.

Names that begin with `flower_` have the same meaning as in Flower, so that its dashboards and alert rules work.
`flower_worker_prefetched_tasks` is left out, because it is not stored which worker has prefetched a message.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from webapp.extensions import db
from webapp.liveness import CONSUMER_MISSED_AFTER
from webapp.mail_store.models import Mail, MailState
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.overview.health import monitor
from webapp.overview.signs import KEYS
from webapp.recorder import counters, recorder, rejected
from webapp.run_store import promise
from webapp.run_store.models import Run
from webapp.run_store.states import ACTIVE, Origin, RunState
from webapp.runs.list.listing import counted_by_state
from webapp.schedule_store.beat_models import BeatLease, alive_beats
from webapp.schedule_store.models import ScheduleRevision
from webapp.worker_process import discards
from webapp.workers import service as workers

logger = logging.getLogger(__name__)

# The limit of counting runs by state.
MAX_COUNTED = 10_000
# Lateness is that of the scheduled runs of this period, at most so many.
LATENESS_PERIOD = timedelta(minutes=5)
LATENESS_ROWS = 500

Family = GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily
Samples = Iterable[tuple[tuple[str, ...], float]]


def page(accept: str, now: datetime) -> tuple[bytes, str]:
    """All metrics in the format that the Accept header prefers, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_CurrentMetrics(now))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _CurrentMetrics(Collector):
    """Collects all metrics as of one moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def collect(self) -> Iterator[Family]:
        """Read each part separately, so that only its own metrics are missing when one is down."""
        up: list[tuple[tuple[str, ...], float]] = []
        rows: list[workers.WorkerRow] = []
        parts: list[tuple[str, Callable[[], Iterable[Family]]]] = [
            ("database", lambda: _database(self._now, rows)),
            ("redis", lambda: _redis([row.worker.name for row in rows])),
            ("broker", lambda: _queues(self._now)),
        ]
        for name, part in parts:
            try:
                families = list(part())
            except Exception as error:  # noqa: BLE001  # any error means that the part is down, which is a metric too
                logger.warning("no metrics of the %s: %s", name, error)
                db.session.rollback()
                up.append(((name,), 0))
            else:
                up.append(((name,), 1))
                yield from families
        signs = Counter(sign.key for sign in monitor().health(timeout=1.0).signs)
        text = "Whether a problem is shown on every page, by kind"
        yield _gauge("beatdesk_wrong", text, ["sign"], (((key,), signs[key]) for key in KEYS))
        yield _gauge("beatdesk_up", "Whether the part answers", ["part"], up)


def _gauge(name: str, text: str, labels: list[str], samples: Samples) -> Family:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _single(name: str, text: str, value: float) -> Family:
    return GaugeMetricFamily(name, text, value=value)


def _database(now: datetime, rows: list[workers.WorkerRow]) -> Iterator[Family]:
    rows += workers.workers(now)
    yield from _workers(rows)
    yield from _beats(now)
    counted = counted_by_state(MAX_COUNTED).items()
    text = f"Stored runs by state; counted up to {MAX_COUNTED}"
    yield _gauge("beatdesk_runs", text, ["state"], (((state.value,), number) for state, number in counted))
    yield _single("beatdesk_due_lateness_seconds", _LATENESS_TEXT, _lateness(now))
    text = "Longest prefetch time of the tasks executing now, from received to started, by task and worker"
    yield _gauge("flower_task_prefetch_time_seconds", text, ["task", "worker"], _prefetch_times())
    yield _gauge("beatdesk_queues", _PROMISE_TEXT, ["promise"], _promises(now))
    in_doubt = sa.select(sa.func.count()).select_from(Mail).where(Mail.state == MailState.IN_DOUBT)
    text = "Emails in doubt: sent, but not confirmed by the mail server"
    yield _single("beatdesk_mails_in_doubt", text, db.session.scalar(in_doubt) or 0)


def _workers(rows: list[workers.WorkerRow]) -> Iterator[Family]:
    online: dict[str, float] = {}
    busy: dict[str, float] = {}
    for row in rows:
        # A worker that was started anew has its name in several rows.
        online[row.worker.name] = max(online.get(row.worker.name, 0), row.alive)
        busy[row.worker.name] = busy.get(row.worker.name, 0) + row.busy
    text = "Whether the worker has a recent heartbeat"
    yield _gauge("flower_worker_online", text, ["worker"], (((name,), value) for name, value in online.items()))
    text = "Tasks that the worker is executing"
    name = "flower_worker_number_of_currently_executing_tasks"
    yield _gauge(name, text, ["worker"], (((label,), value) for label, value in busy.items()))


def _beats(now: datetime) -> Iterator[Family]:
    alive = alive_beats(db.session, now)
    leaders = [beat for beat in alive if beat.leading]
    yield _single("beatdesk_beats", "Beats with a recent heartbeat", len(alive))
    yield _single("beatdesk_beat_leading", "Whether a beat leads", bool(leaders))
    for beat in leaders[:1]:
        text = "Seconds since the last heartbeat of the leading beat"
        yield _single("beatdesk_beat_seen_seconds", text, (now - beat.seen_at).total_seconds())
        yield _single(
            "beatdesk_beat_applied_revision",
            "Revision of the schedules that the leading beat has loaded",
            beat.revision,
        )
        yield _single("beatdesk_beat_schedules", "Schedules that the leading beat fires", beat.schedules)
    latest = db.session.scalar(sa.select(ScheduleRevision.revision)) or 0
    yield _single("beatdesk_schedules_revision", "Revision of the last edit of a schedule", latest)
    lease = db.session.execute(sa.select(BeatLease.expires_at, BeatLease.missed)).first()
    if lease is not None:
        if lease.expires_at is not None:
            text = "Seconds until the lease of the leading beat expires; negative once it has"
            yield _single("beatdesk_beat_lease_seconds", text, (lease.expires_at - now).total_seconds())
        text = "Due times recorded as missed"
        yield CounterMetricFamily("beatdesk_missed", text, value=lease.missed)


_LATENESS_TEXT = (
    "Largest delay from due time to creation among the scheduled runs of the last five minutes, at most 500"
)


def _lateness(now: datetime) -> float:
    """The largest recent delay of beat in seconds. Includes jitter, which is intended."""
    newest = (
        sa.select(Run.created_at, Run.due_at, Run.state)
        .where(Run.created_at > now - LATENESS_PERIOD, Run.origin == Origin.SCHEDULE)
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(LATENESS_ROWS)
    )
    late = [
        (row.created_at - row.due_at).total_seconds()
        for row in db.session.execute(newest)
        # Runs skipped in advance or recorded as missed were not fired at all.
        if row.due_at is not None and row.state not in (RunState.SKIPPED, RunState.MISSED)
    ]
    return max(late, default=0.0)


_PROMISE_TEXT = "Consumed queues by delivery promise: guarded against a second execution, or not"


def _promises(now: datetime) -> Samples:
    consumers = promise.load(db.session.connection())
    queues = {DEFAULT_QUEUE, *(one.queue for one in consumers)}
    found = Counter(promise.promise(queue, now - CONSUMER_MISSED_AFTER, consumers) for queue in queues)
    return [((each.value,), found[each]) for each in promise.Promise]


def _prefetch_times() -> Samples:
    executing = (
        sa.select(Run.task, Run.worker, Run.received_at, Run.started_at)
        .where(Run.state.in_(sorted(ACTIVE)), Run.received_at.is_not(None), Run.started_at.is_not(None))
        .limit(MAX_COUNTED)
    )
    longest: dict[tuple[str, ...], float] = {}
    for row in db.session.execute(executing):
        key = (row.task, row.worker or "")
        longest[key] = max(longest.get(key, 0.0), (row.started_at - row.received_at).total_seconds())
    return longest.items()


def _redis(names: list[str]) -> Iterator[Family]:
    client = broker.client()
    events = CounterMetricFamily("flower_events", "Number of events", labels=["task", "type", "worker"])
    text = "Runtime of tasks that succeeded"
    runtimes = HistogramMetricFamily("flower_task_runtime_seconds", text, labels=["task", "worker"])
    for (worker, task), counted in counters.read(client, sorted(set(names))).items():
        for kind, number in counted.events.items():
            events.add_metric([task, kind, worker], number)
        runtimes.add_metric([task, worker], _cumulative(counted.buckets), counted.seconds)
    yield events
    yield runtimes
    yield _single("beatdesk_recorders", "Recorders with a recent heartbeat", len(recorder.present(client)))
    lag = recorder.lag(client)
    yield _single("beatdesk_recorder_lag_entries", "State changes that are not recorded yet", lag.entries)
    yield _single("beatdesk_recorder_lag_seconds", "Seconds since the oldest of them", lag.seconds)
    text = "Messages that workers could not execute and discarded"
    discarded = CounterMetricFamily("beatdesk_discarded_messages", text, labels=["queue", "task", "reason"])
    for each in discards.read(client):
        discarded.add_metric([each.queue, each.task, each.reason], each.count)
    yield discarded
    text = "State changes that could not be recorded and were set aside"
    yield CounterMetricFamily("beatdesk_recorder_rejected", text, value=rejected.counted(client))


def _cumulative(buckets: list[float]) -> list[tuple[str, float]]:
    found, total = [], 0.0
    for limit, number in zip((*map(str, counters.BUCKETS), "+Inf"), buckets, strict=True):
        total += number
        found.append((limit, total))
    return found


def _queues(now: datetime) -> Iterator[Family]:
    found = workers.queues(now)
    if found.away is not None:
        raise broker.BrokerAway(found.away)
    depths = (((row.name,), float(row.depth)) for row in found.rows if row.depth is not None)
    yield _gauge("beatdesk_queue_depth", "Messages that wait in the queue", ["queue"], depths)
    waits = (((row.name,), (now - row.oldest).total_seconds() if row.oldest else 0.0) for row in found.rows)
    text = "Seconds that the oldest waiting run of the queue has been ready to start"
    yield _gauge("beatdesk_queue_oldest_seconds", text, ["queue"], waits)
