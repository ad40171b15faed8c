"""The drawing of a family of runs: boxes, paths and frames in pixels. Pure.

Time goes downwards. The calls of a run are below it, a little to the right; the runs that follow it are below it, after
an arrow; a group is a frame around its members. The drawing is as wide as a phone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from webapp.runs.page.family import Branch, Group, Member, Node

WIDTH = 328
BOX_WIDTH, BOX_HEIGHT = 220, 32
MIN_WIDTH = 116
TILE, TILE_GAP = 26, 6
# If a group has more members with nothing below them, they are drawn as tiles.
MAX_BOXES = 6
GAP, ARROW = 8, 22
INDENT = 20
PADDING, TITLE = 8, 20
# Pixels before and after the text in a box, and for each character.
TEXT_MARGIN, CHARACTER_WIDTH = 36, 6.7


@dataclass(frozen=True, slots=True)
class Box:
    """The box of a run. `text` fits into it; that of a tile is its number in the group."""

    member: Member
    x: int
    y: int
    width: int
    height: int
    text: str
    tile: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """An SVG path; it ends in an arrow where a run follows."""

    data: str
    arrow: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame around the members of a group."""

    x: int
    y: int
    width: int
    height: int
    text: str


@dataclass(slots=True)
class Picture:
    """The whole drawing and its size."""

    width: int = WIDTH
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)


def draw(branches: Sequence[Branch]) -> Picture:
    """The drawing of these trees, one below the other."""
    picture = Picture()
    y = 2
    for branch in branches:
        y = _branch(picture, branch, 2, y, WIDTH - 4) + GAP
    picture.height = max(y - GAP + 2, 0)
    return picture


def _branch(picture: Picture, branch: Branch, x: int, y: int, width: int) -> int:
    """Draw a branch from its upper left corner; gives the y at which it ends."""
    return _node(picture, branch, x, y, width) if isinstance(branch, Node) else _group(picture, branch, x, y, width)


def _node(picture: Picture, node: Node, x: int, y: int, width: int) -> int:
    box_width = min(width, BOX_WIDTH)
    picture.boxes.append(Box(node.member, x, y, box_width, BOX_HEIGHT, _shortened(node.member.task, box_width)))
    bottom = y + BOX_HEIGHT
    inner = INDENT if width - INDENT >= MIN_WIDTH else 0
    for branch in node.calls:
        top = bottom + GAP
        if inner:
            picture.paths.append(Path(f"M{x + 8} {y + BOX_HEIGHT}V{top + BOX_HEIGHT // 2}H{x + inner}", arrow=False))
        else:
            picture.paths.append(Path(f"M{x + 8} {bottom}V{top}", arrow=False))
        bottom = _branch(picture, branch, x + inner, top, width - inner)
    start = y + BOX_HEIGHT
    for branch in node.then:
        top = bottom + ARROW
        picture.paths.append(Path(f"M{x + 8} {start}V{top - 2}", arrow=True))
        bottom = _branch(picture, branch, x, top, width)
    return bottom


def _group(picture: Picture, group: Group, x: int, y: int, width: int) -> int:
    inner_x, inner_width = x + PADDING, width - 2 * PADDING
    top = y + TITLE + PADDING // 2
    plain = [branch for branch in group.members if isinstance(branch, Node) and not (branch.calls or branch.then)]
    tiles = plain if len(plain) > MAX_BOXES else []
    bottom = _tiles(picture, tiles, inner_x, top, inner_width)
    bottom = _columns(picture, [each for each in group.members if each not in tiles], inner_x, bottom, inner_width)
    bottom += PADDING - GAP
    picture.frames.append(Frame(x, y, width, bottom - y, f"{'chord' if group.chord else 'group'} of {group.size:,}"))
    if group.body:
        top = bottom + ARROW
        picture.paths.append(Path(f"M{x + 8} {bottom}V{top - 2}", arrow=True))
        bottom = _branch(picture, group.body, x, top, width)
    return bottom


def _tiles(picture: Picture, nodes: Sequence[Node], x: int, y: int, width: int) -> int:
    if not nodes:
        return y
    across = max((width + TILE_GAP) // (TILE + TILE_GAP), 1)
    for place, node in enumerate(nodes):
        index = node.member.group_index
        text = str(place if index is None else index)
        row, column = divmod(place, across)
        left, top = x + column * (TILE + TILE_GAP), y + row * (TILE + TILE_GAP)
        picture.boxes.append(Box(node.member, left, top, TILE, TILE, text, tile=True))
    return y + -(-len(nodes) // across) * (TILE + TILE_GAP) - TILE_GAP + GAP


def _columns(picture: Picture, branches: Sequence[Branch], x: int, y: int, width: int) -> int:
    """Side by side as far as there is room, then in the next row."""
    across = max(min((width + GAP) // (MIN_WIDTH + GAP), len(branches)), 1)
    each = (width - (across - 1) * GAP) // across
    for start in range(0, len(branches), across):
        ends = [
            _branch(picture, branch, x + column * (each + GAP), y, each)
            for column, branch in enumerate(branches[start : start + across])
        ]
        y = max(ends) + GAP
    return y


def _shortened(name: str, width: int) -> str:
    """As much of a task's name as fits, its last part first."""
    most = max(int((width - TEXT_MARGIN) / CHARACTER_WIDTH), 4)
    if len(name) <= most:
        return name
    last = name.rpartition(".")[2]
    return f"…{last}" if len(last) < most else f"{last[: most - 1]}…"
