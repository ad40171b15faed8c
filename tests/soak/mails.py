"""R2 and R4: no person gets the same email twice, whatever is killed and however the mail server behaves."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from tests.mail.servers import Mailbox, Server
from tests.scheduler.beats import Rig
from tests.servers import wait_for
from tests.soak.beats import Pair
from tests.soak.measure import Measure
from tests.soak.scene import Scene, while_it_goes_on
from tests.visitors import Visitor
from webapp.config import MailSettings
from webapp.database.engine import now
from webapp.database.reads import reading
from webapp.extensions import db
from webapp.identity.models import User
from webapp.mail_store.models import Mail, MailState
from webapp.mail_store.outbox import enqueue
from webapp.runs.service import send_runs

BATCH = 100
# Seconds that the mail server has for each answer.
TIMEOUT = 1.0
UNSENT = (MailState.PENDING, MailState.SENDING)
# Stands for each person in their address, so that the server knows how to treat them.
ADDRESS = "person{number}@example.com"


class Moody(Mailbox):
    """A mail server that treats each recipient in a way of their own, and misbehaves at their first attempt only.

    Of twenty recipients one is let down in each of these ways: no answer to RCPT, "later" to RCPT, "later" to the
    mail itself; and two have theirs taken, but the connection is dropped at QUIT.
    """

    def __init__(self, *, moody: bool = True) -> None:
        super().__init__()
        self.taken: Counter[str] = Counter()
        self._moody = moody
        self._tried: Counter[str] = Counter()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:  # noqa: N802
        self._tried[address] += 1
        envelope.rcpt_tos.append(address)
        match self._mood(address):
            case 1:
                await asyncio.sleep(2 * TIMEOUT)
            case 2:
                envelope.rcpt_tos.clear()
                return "451 Come back later"
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        (address,) = envelope.rcpt_tos
        if self._mood(address) == 3:
            return "451 Come back later"
        self.taken[address] += 1
        session.dropped = self._moody and _number(address) % 20 in (4, 5)
        return "250 OK"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if getattr(session, "dropped", False):
            server.transport.abort()
        return "221 Bye"

    def _mood(self, address: str) -> int:
        return _number(address) % 20 if self._moody and self._tried[address] == 1 else 0


def _number(address: str) -> int:
    return int(address.partition("@")[0].removeprefix("person"))


@contextmanager
def mail_server(*, moody: bool = True) -> Iterator[tuple[Moody, MailSettings]]:
    """A mail server, and the settings that lead to it."""
    box = Moody(moody=moody)
    with Server(box) as server:
        yield box, MailSettings(port=server.port, timeout=TIMEOUT)


@dataclass(frozen=True)
class Post:
    """The number of emails, and the kills of those that send them."""

    mails: int
    workers: int
    concurrency: int
    valkey_kills: int
    worker_kills: int
    drained: float = 120.0


def sent_once(scene: Scene, box: Moody, post: Post) -> list[Measure]:
    """R2: Valkey and workers are killed while mails go out, evenly over the number of mails that have left.

    A mail whose worker is killed between its claim and the note of its end is in doubt: its outcome is unknown. The
    pauses before the next attempts, of minutes and hours, are skipped.
    """
    options = ("--concurrency", str(post.concurrency))
    for _ in range(post.workers):
        scene.worker(*options)
    _write_to_everybody(post.mails)
    kills = sorted(
        [((at + 1) / (post.valkey_kills + 1), "Valkey") for at in range(post.valkey_kills)]
        + [((at + 1) / (post.worker_kills + 1.5), "a worker") for at in range(post.worker_kills)]
    )
    for share, victim in kills:
        while_it_goes_on(lambda share=share: max(_unsent(scene) - int(post.mails * (1 - share)), 0), post.drained)  # type: ignore[misc]
        if victim == "Valkey":
            scene.valkey.kill()
            scene.valkey.come_back()
        else:
            scene.kill(scene.workers[0])
            scene.worker(*options, ready=False)
    ended = time.monotonic()
    stuck = while_it_goes_on(lambda: _unsent(scene), post.drained)
    drained = time.monotonic() - ended - (post.drained if stuck else 0.0)
    what = f"{post.mails} mails, Valkey killed {post.valkey_kills}×, a worker {post.worker_kills}×"
    return [*_accounts(scene, box, what, post), Measure("R2", "drained after the last kill", drained, " s", "≤", 120)]


def _accounts(scene: Scene, box: Moody, what: str, post: Post) -> list[Measure]:
    states: dict[str, str] = dict(_mails(scene))
    doubtful = {recipient for recipient, state in states.items() if state == MailState.IN_DOUBT}
    sent = {recipient for recipient, state in states.items() if state == MailState.SENT}
    return [
        Measure("R2", f"{what}: got it twice", sum(many > 1 for many in box.taken.values()), "", "=", 0),
        Measure("R2", "unaccounted for", post.mails - len(sent & box.taken.keys()) - len(doubtful), "", "=", 0),
        Measure("R2", "in doubt", len(doubtful), "", "≤", post.worker_kills * post.concurrency),
        Measure("R2", "of those not listed at /mail", len(doubtful - _listed(scene)), "", "=", 0),
    ]


def _write_to_everybody(many: int) -> None:
    for start in range(0, many, BATCH):
        people = _add_people(range(start, min(start + BATCH, many)))
        added = [enqueue(db.session, key=f"welcome:{user.id}", kind="welcome", user=user) for user in people]
        runs = [made[1] for made in added if made is not None]
        db.session.commit()
        send_runs(runs)


def _add_people(numbers: Sequence[int], birthday: date | None = None) -> list[User]:
    key = birthday.month * 100 + birthday.day if birthday else None
    people = [
        User(
            email=ADDRESS.format(number=number),
            name="Maya",
            password="!",
            fs_uniquifier=uuid.uuid4().hex,
            birthday=birthday,
            birthday_key=key,
        )
        for number in numbers
    ]
    db.session.add_all(people)
    db.session.flush()
    return people


def _mails(scene: Scene) -> list[Any]:
    with reading(scene.engine) as connection:
        return list(connection.execute(sa.select(Mail.recipient, Mail.state)))


def _unsent(scene: Scene) -> int:
    """The number of emails that have not ended; those that wait for their next attempt need not wait longer."""
    scene.execute("UPDATE runs SET eta = :now WHERE state = 'held' AND eta > :now", now=now())
    return int(scene.one(sa.select(sa.func.count()).select_from(Mail).where(Mail.state.in_(UNSENT))))


def _listed(scene: Scene) -> set[str]:
    page = Visitor(scene.app, "viewer").get("/mail?state=in+doubt").text
    return {recipient for recipient, _ in _mails(scene) if f">{recipient}<" in page}


def greeted_once(scene: Scene, box: Moody, rig: Rig, *, rounds: int, people: int, every: int) -> list[Measure]:
    """R4: two beats; the leading one is killed right after it has fired the birthdays, again and again.

    Before each firing more people have their birthday today, so that each has a person to greet.
    """
    scene.worker("--concurrency", "2")
    pair = Pair(rig, scene.settings, scene.stack)
    made = rig.interval("greet", every, saved=now(), task="people.send_birthday_emails", args="[]")
    late = 0
    for number in range(rounds):
        today = now().astimezone(scene.settings.zone).date()
        _add_people(range(number * people, (number + 1) * people), today.replace(year=1996))
        db.session.commit()
        fired = len(rig.runs(made))
        wait_for(lambda many=fired: len(rig.runs(made)) > many, seconds=60 + 3 * every)  # type: ignore[misc]
        leader = wait_for(pair.leader, seconds=30)
        leader.kill()
        late += (now() - max(run.created_at for run in rig.runs(made))).total_seconds() > 1
        pair.beats.remove(leader)
        pair.succeeded_by_other(leader, 60)
        pair.start()
        pair.stands_by()
    people_in_all = rounds * people
    stuck = while_it_goes_on(lambda: people_in_all - len(box.taken), 120)
    dues = [run.due_at for run in rig.runs(made)]
    what = f"{rounds} beats killed after firing, {people_in_all} birthdays"
    return [
        Measure("R4", f"{what}: greeted twice", sum(many > 1 for many in box.taken.values()), "", "=", 0),
        Measure("R4", "not greeted", stuck, "", "=", 0),
        Measure("R4", "killed later than 1 s after it", late),
        Measure("R4", "due times fired twice", len(dues) - len(set(dues)), "", "=", 0),
    ]
