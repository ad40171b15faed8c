"""Heartbeats, claims and leases: how often each is renewed, and how long without a renewal it lasts.

A process counts as gone soon, because a wrong banner goes away by itself, and as lost late, because a second execution
stays: only what is lost has its runs taken over. An open page shows within 10 s that a worker died and within 12 s that
a beat did: after the limit here, at most 1 s until `overview.health` looks again, and at most 2 s until the page asks
again. Numbers without a unit are seconds.
"""

from __future__ import annotations

from datetime import timedelta

WORKER_HEARTBEAT = 2.0
WORKER_GONE_AFTER = timedelta(seconds=3 * WORKER_HEARTBEAT)
WORKER_LOST_AFTER = timedelta(seconds=15 * WORKER_HEARTBEAT)
# Claims are renewed with the heartbeat of their worker, those of runs that wait in its hands too.
CLAIM_TIMEOUT = WORKER_LOST_AFTER

# All workers, ours and others', are asked for their queues so often; a busy one may not answer.
CONSUMER_POLL_SECONDS = 10.0
CONSUMER_MISSED_AFTER = timedelta(seconds=3 * CONSUMER_POLL_SECONDS)
FOREIGN_WORKER_GONE_AFTER = timedelta(seconds=6 * CONSUMER_POLL_SECONDS)

# A beat that stands by renews its row and looks at the lease so often; one that leads renews both less often.
BEAT_STANDBY_INTERVAL = 0.5
LEASE_RENEWAL = 1.0
LEASE_DURATION = 3 * LEASE_RENEWAL
BEAT_GONE_AFTER = timedelta(seconds=8 * LEASE_RENEWAL)
# Within which another beat leads, where the leader stopped in an orderly way.
BEAT_TAKEOVER = timedelta(seconds=LEASE_DURATION)

RECORDER_HEARTBEAT = 2.5
RECORDER_GONE_AFTER = timedelta(seconds=4 * RECORDER_HEARTBEAT)
# Entries that were read and not acknowledged for so long are another recorder's to record.
RECORDER_LOST_AFTER = 1.5 * RECORDER_GONE_AFTER
# The oldest state change that no recorder has recorded.
RECORDER_MAX_LAG = 30.0

# Workers, consumers and beats that are gone are remembered for so long.
FORGOTTEN_AFTER = timedelta(days=1)
