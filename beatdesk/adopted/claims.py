"""Claims in Redis: one script decides whether a delivery is executed here.

1. A claim is a key for each attempt of a run. Its value names the worker and the process that hold it, or says that
   the attempt is over.
2. The holder is alive if its worker's presence (see `presence`), which expires, names the process. A process that has
   just begun may not be named yet, and a Redis that has just started may have lost the presence of all workers: for a
   moment neither counts as dead.
3. An attempt whose holder is dead is taken over where its task is acknowledged late, and is over otherwise: Celery
   would not execute it again either.
4. A claim that is there is always true. One that is absent may have been forgotten, if Redis was started or emptied
   after the message was first sent. The latter is seen by a key of ours, which has the time since which nothing was
   lost. A second sending is not executed then, because the first one may have been.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from hashlib import sha1
from itertools import count
from typing import Any, NamedTuple

import redis

from beatdesk.execution.redis_appender import take_connection
from beatdesk.liveness import WORKER_HEARTBEAT, WORKER_LOST_AFTER

# Longer than a broker keeps a message that it may deliver again.
REMEMBERED_SECONDS = 24 * 3600
CLAIM_KEY = "beatdesk:claim:{run_id}:{attempt}:{replaced}"
WORKER_KEY = "beatdesk:worker:{worker_id}"
# The ids of the workers that have, or had lately, a presence.
WORKERS_KEY = "beatdesk:adopted"
# The run that the last message of a task id was of, where another program chose that.
TASK_KEY = "beatdesk:task:{task_id}"
EPOCH_KEY = "beatdesk:epoch"
OVER = "over"
# Seconds after which a process that holds a claim must be named by its worker.
_NAMED_AFTER = 3 * WORKER_HEARTBEAT
# Clocks of the sender and of Redis differ by less.
_SKEW = 2.0


class Answer(StrEnum):
    """What the script says. TAKEN_OVER is executed too; FORGOTTEN and LOST are not."""

    GO = "go"
    TAKEN_OVER = "taken over"
    DONE = "done"
    HELD = "held"
    FORGOTTEN = "forgotten"
    LOST = "lost"


class Sending(StrEnum):
    """Whether a message is the first of its attempt, may be a further one, or was asked for by a person."""

    FIRST = "first"
    AGAIN = "again"
    ASKED = "asked"


_numbers = count()

_CLAIM = f"""
local now = tonumber(redis.call('TIME')[1])
local since = tonumber(redis.call('GET', KEYS[2]) or '')
if not since then
  since = now
  redis.call('SET', KEYS[2], now)
end
local started, kind, first_sent = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local known, answer = redis.call('GET', KEYS[1]), '{Answer.GO}'
if known == '{OVER}' then
  if kind ~= '{Sending.ASKED}' then return '{Answer.DONE}' end
elseif known then
  local holder, worker, process, late, at = string.match(known, '^((%S+) (%S+) (%d) %S+) (%d+)$')
  -- Asked once more, because the answer was lost.
  if holder == ARGV[1] then return answer end
  local presence = redis.call('GET', 'beatdesk:worker:' .. worker)
  local alive = now - tonumber(at) < {_NAMED_AFTER}
  if presence then
    alive = alive or string.find(presence, ',' .. process .. ',', 1, true)
  else
    alive = alive or now - started < {WORKER_LOST_AFTER}
  end
  if alive then return '{Answer.HELD}' end
  if late ~= '1' and kind ~= '{Sending.ASKED}' then return '{Answer.LOST}' end
  answer = '{Answer.TAKEN_OVER}'
elseif kind == '{Sending.AGAIN}' and first_sent < math.max(since, started) + {_SKEW} then
  return '{Answer.FORGOTTEN}'
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. now, 'EX', {REMEMBERED_SECONDS})
return answer
"""

# The run of a task id that another program chose: KEYS[1] is that id's, ARGV the run's own id, the id of a repetition,
# when it was received, and whether the message goes on with a run.
_WHICH_RUN = f"""
local known = redis.call('GET', KEYS[1])
local run, received = string.match(known or '', '^(%S+) (%S+)$')
if run and (ARGV[4] == '1' or received == ARGV[3]) then return run end
run = run and ARGV[2] or ARGV[1]
redis.call('SET', KEYS[1], run .. ' ' .. ARGV[3], 'EX', {REMEMBERED_SECONDS})
return run
"""


class Claim(NamedTuple):
    """An attempt to claim. `first_sent` is when its run may have been sent first, in epoch seconds."""

    key: str
    worker_id: str
    acks_late: bool
    sending: Sending
    first_sent: float


@dataclass(slots=True, eq=False)
class _Connection:
    """A connection of redis-py, and when the Redis at its other end was started, in epoch seconds by its clock."""

    raw: Any
    started: int


class RedisClaims:
    """Claims by connections of its own: redis-py's client costs more than the script does.

    A connection is in use by one thread or greenlet at a time: it is taken from the idle ones and put back. One that
    breaks takes its knowledge of Redis' start with it.
    """

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self._idle: list[_Connection] = []

    def claim(self, claim: Claim) -> Answer:
        """Claim an attempt for this process. Raises redis.RedisError, OSError."""
        holder = f"{claim.worker_id} {os.getpid()} {int(claim.acks_late)} {next(_numbers)}"
        sent = claim.sending.value, f"{claim.first_sent:.0f}"
        answer = self._use(lambda each: _eval(each, _CLAIM, (claim.key, EPOCH_KEY), (holder, each.started, *sent)))
        return Answer(answer)

    def which_run(self, task_id: str, run_id: str, repeated_id: str, received: str, *, goes_on: bool) -> str:
        """The id of the run of a message that another program sent. Raises redis.RedisError, OSError."""
        values = (run_id, repeated_id, received, int(goes_on))
        return str(self._use(lambda each: _eval(each, _WHICH_RUN, (TASK_KEY.format(task_id=task_id),), values)))

    def _use(self, work: Callable[[_Connection], Any]) -> Any:
        while True:
            try:
                connection, known = self._idle.pop(), True
            except IndexError:
                connection, known = self._connect(), False
            try:
                answer = work(connection)
            except BaseException as error:
                connection.raw.disconnect()
                self.pool.release(connection.raw)
                # Redis was restarted, or has closed an idle connection. What it has done already it decides again.
                if known and isinstance(error, (redis.ConnectionError, OSError)):
                    continue
                raise
            self._idle.append(connection)
            return answer

    def _connect(self) -> _Connection:
        raw = take_connection(self.pool)
        try:
            lines = dict(line.split(":", 1) for line in str(_call(raw, "INFO", "server")).splitlines() if ":" in line)
            now = int(_call(raw, "TIME")[0])
        except BaseException:
            raw.disconnect()
            self.pool.release(raw)
            raise
        return _Connection(raw, now - int(lines["uptime_in_seconds"]))


def _call(raw: Any, *command: Any) -> Any:
    raw.send_command(*command, check_health=False)
    return raw.read_response()


def _eval(connection: _Connection, script: str, keys: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    try:
        return _call(connection.raw, "EVALSHA", _sha(script), len(keys), *keys, *values)
    except redis.exceptions.NoScriptError:
        return _call(connection.raw, "EVAL", script, len(keys), *keys, *values)


@cache
def _sha(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()
