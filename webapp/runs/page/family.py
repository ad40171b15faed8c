"""The family of a run as a tree: calls, chains, groups and chords. Pure.

1. A run's calls are the runs that it sent, without those that rules 2 and 3 place elsewhere.
2. The runs that follow it are in its message: the rest of its chain, its links. Steps without a row are still to come.
3. Runs of one group are one branch, and the body of their chord follows them. In a group, a chain is represented by its
   last step, which is the member.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from beatdesk.execution.canvas import NOTHING_FOLLOWS, Following, Step
from webapp.run_store.states import ENDED, RunState

MAX_DRAWN_RUNS = 60
# The states after which nothing follows; after an unconfirmed run something may.
BROKEN = ENDED - {RunState.SUCCEEDED, RunState.UNCONFIRMED}


@dataclass(frozen=True, slots=True)
class Member:
    """A run of the family. `state` is None for one without a row, which is to come, or with `never` will not come."""

    id: str
    task: str
    state: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    created_at: datetime | None = None
    following: Following = NOTHING_FOLLOWS
    never: bool = False


@dataclass(slots=True)
class Node:
    """One run, the runs that it called, and those that follow it."""

    member: Member
    calls: list[Branch] = field(default_factory=list)
    then: list[Branch] = field(default_factory=list)


@dataclass(slots=True)
class Group:
    """Runs side by side; `body` is that of a chord. `size` is the number of members, including those not shown."""

    members: list[Branch]
    size: int
    chord: bool = False
    body: Branch | None = None


Branch = Node | Group


def tree(given: Iterable[Member], sizes: Mapping[str, int] | None = None) -> list[Branch]:
    """The trees of these runs, usually one. Each run is in them once; about `MAX_DRAWN_RUNS` runs are in them.

    `sizes` are those of groups of which not every run is given.
    """
    return _Builder(given, sizes or {}).build()


def chord_bodies(given: Iterable[Member]) -> set[str]:
    """The ids of the bodies of the chords that these runs are members of."""
    return {step.id for member in given if (step := _joins(member))}


def members(branches: Iterable[Branch]) -> list[Member]:
    """The runs in these trees."""
    return [node.member for branch in branches for node in _nodes(branch)]


def _nodes(branch: Branch) -> Iterable[Node]:
    if isinstance(branch, Node):
        yield branch
        below = [*branch.calls, *branch.then]
    else:
        below = [*branch.members, *([branch.body] if branch.body else [])]
    for each in below:
        yield from _nodes(each)


class _Builder:
    def __init__(self, members: Iterable[Member], sizes: Mapping[str, int]) -> None:
        self.sizes = sizes
        self.rows = {member.id: member for member in members}
        self.sent: dict[str | None, list[Member]] = {}
        self.placed_elsewhere: set[str] = set()
        self.drawn: set[str] = set()
        for member in self.rows.values():
            known = member.parent_id in self.rows and member.parent_id != member.id
            self.sent.setdefault(member.parent_id if known else None, []).append(member)
            self._expect(member)

    def _expect(self, member: Member) -> None:
        """Note the runs that follow a member: they are drawn after it, not among the calls of the run that sent them.

        A task that replaces itself by a chord is the body of it, and stays above it.
        """
        following, above = member.following, self._ancestors(member)
        steps = [*following.chain, *following.links, *([following.joins] if following.joins else [])]
        while steps:
            step = steps.pop()
            if step.id not in above:
                self.placed_elsewhere.add(step.id)
            steps += [*step.members, *step.after]
            steps += [other for other in (step.body, step.joins) if other]

    def _ancestors(self, member: Member) -> set[str]:
        above: set[str] = set()
        parent = self.rows.get(member.parent_id or "")
        while parent and parent.id not in above:
            above.add(parent.id)
            parent = self.rows.get(parent.parent_id or "")
        return above

    def build(self) -> list[Branch]:
        roots = self.called(None)
        # The rest: runs whose predecessor is not given, and those that follow each other in a circle.
        for member in self.rows.values():
            if member.id not in self.drawn and len(self.drawn) < MAX_DRAWN_RUNS:
                roots.append(self.node(member, member.following.chain))
        return roots

    def called(self, parent_id: str | None) -> list[Branch]:
        """The runs that a run has sent, groups as one, in the order of their first members."""
        together: dict[str, list[Member]] = {}
        for member in sorted(self.sent.get(parent_id, ()), key=_order):
            if member.id not in self.placed_elsewhere:
                together.setdefault(_group_of(member)[0] or member.id, []).append(member)
        branches: list[Branch] = []
        for members in together.values():
            members.sort(key=lambda member: _group_of(member)[1] or 0)
            nodes: list[Branch] = [self.node(each, each.following.chain) for each in members if self._room(each.id)]
            group_id, _ = _group_of(members[0])
            if nodes and group_id is not None:
                joins = _joins(members[0])
                body = self.step(joins, never=any(map(_broken, nodes)))
                size = max(self.sizes.get(group_id, 0), len(nodes))
                branches.append(Group(nodes, size, joins is not None, body))
            else:
                branches += nodes
        return branches

    def _room(self, run_id: str) -> bool:
        return run_id not in self.drawn and len(self.drawn) < MAX_DRAWN_RUNS

    def node(self, member: Member, chain: Sequence[Step]) -> Node:
        """A run with everything below it."""
        self.drawn.add(member.id)
        node = Node(member)
        node.calls = self.called(member.id)
        never = member.never or member.state in BROKEN
        following = [self.step(chain[0], chain[1:], never=never)] if chain else []
        following += [self.step(link, never=never) for link in member.following.links]
        node.then = [branch for branch in following if branch]
        return node

    def step(self, step: Step | None, after: Sequence[Step] = (), *, never: bool = False) -> Branch | None:
        """The branch of a step that a message names, with its row if there is one; None if it is drawn elsewhere."""
        if step is None:
            return None
        after = [*step.after, *after]
        if step.members:
            members = [branch for member in step.members if (branch := self.step(member, never=never))]
            body = self.step(step.body, after, never=never or any(map(_broken, members)))
            size = max(len(step.members), len(members))
            return Group(members, size, step.body is not None, body) if members else body
        if not self._room(step.id):
            return None
        row = self.rows.get(step.id)
        if row:
            return self.node(row, row.following.chain or after)
        return self.node(Member(step.id, step.task, never=never), after)


def _broken(branch: Branch) -> bool:
    """Whether it did not succeed, so that nothing follows it."""
    if isinstance(branch, Group):
        return any(map(_broken, branch.members)) or (branch.body is not None and _broken(branch.body))
    return branch.member.never or branch.member.state in BROKEN or any(map(_broken, branch.then))


def _group_of(member: Member) -> tuple[str | None, int | None]:
    """The group of a run, its own or that of the last step of its chain. A chord's body is not a member."""
    if member.group_id and member.group_index is not None:
        return member.group_id, member.group_index
    last = _last(member)
    return (last.group_id, last.group_index) if last and last.group_index is not None else (None, None)


def _joins(member: Member) -> Step | None:
    last = _last(member)
    return member.following.joins or (last.joins if last else None)


def _last(member: Member) -> Step | None:
    return member.following.chain[-1] if member.following.chain else None


def _order(member: Member) -> tuple[str, str]:
    return (member.created_at.isoformat() if member.created_at else "", member.id)
