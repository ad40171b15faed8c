"""Heartbeats: how often a process gives one, and after how long without one it counts as gone. All in seconds.

An open page shows within 10 s that a worker died and within 12 s that a beat did: after the limit here, at most 1 s
until `overview.health` looks again, and at most 2 s until the page asks again. A run is taken over only after
`runs.claims.CLAIM_TIMEOUT`, which is longer on purpose: a wrong banner goes away by itself, a second execution stays.
"""

from __future__ import annotations

WORKER_HEARTBEAT = 2.0
WORKER_GONE_AFTER = 6.0
# A worker that is not ours is asked every 10 s, and a busy one may not answer.
FOREIGN_WORKER_GONE_AFTER = 60.0
# A leading beat renews its row every second, one that stands by twice a second.
BEAT_GONE_AFTER = 8.0
# Of a beat that stopped in an orderly way, another one takes over within this time.
BEAT_TAKEOVER = 3.0
RECORDER_GONE_AFTER = 10
# The oldest state change that no recorder has recorded.
RECORDER_MAX_LAG = 30.0
