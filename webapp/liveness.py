"""Heartbeats, claims and leases: the intervals of their renewals, and the time-outs without one.

A process counts as gone soon, because a wrong banner corrects itself, and as lost late, because a second execution
cannot be undone: only the runs of a lost process are taken over. An open page shows within 10 s that a worker died, and
within 12 s that a beat did: the limit here, up to 1 s until the next check of `overview.health`, and up to 2 s until
the page polls again. Numbers without a unit are seconds.
"""

from __future__ import annotations

from datetime import timedelta

from beatdesk import liveness

WORKER_HEARTBEAT = liveness.WORKER_HEARTBEAT
WORKER_GONE_AFTER = timedelta(seconds=3 * WORKER_HEARTBEAT)
WORKER_LOST_AFTER = timedelta(seconds=liveness.WORKER_LOST_AFTER)
# Claims are renewed with the heartbeat of their worker, also those of runs that it has reserved.
CLAIM_TIMEOUT = WORKER_LOST_AFTER

# How often all workers, ours and others', are asked for their queues; a busy one may not answer.
CONSUMER_POLL_SECONDS = 10.0
CONSUMER_MISSED_AFTER = timedelta(seconds=3 * CONSUMER_POLL_SECONDS)
FOREIGN_WORKER_GONE_AFTER = timedelta(seconds=6 * CONSUMER_POLL_SECONDS)

# A standby beat renews its row and checks the lease at this interval; the leading one renews both less often.
BEAT_STANDBY_INTERVAL = 0.5
LEASE_RENEWAL = 1.0
LEASE_DURATION = 3 * LEASE_RENEWAL
BEAT_GONE_AFTER = timedelta(seconds=8 * LEASE_RENEWAL)
# Another beat takes over within this time after the leader has stopped in an orderly way.
BEAT_TAKEOVER = timedelta(seconds=LEASE_DURATION)

RECORDER_HEARTBEAT = 2.5
RECORDER_GONE_AFTER = timedelta(seconds=4 * RECORDER_HEARTBEAT)
# Entries that a recorder has read but not acknowledged for this long are claimed by another one.
RECORDER_LOST_AFTER = 1.5 * RECORDER_GONE_AFTER
# The maximum age of a state change that is not recorded yet.
RECORDER_MAX_LAG = 30.0

# The rows of workers, consumers and beats that are gone are kept and shown for this long.
FORGOTTEN_AFTER = timedelta(days=1)
