"""`make structure`: figures on the structure, each with its bar. See `structure_live` for the modules of a request.

Read from the source alone: imports of our own modules, statements without docstrings, files by folder. A room is a
package of `webapp/`, a module directly in it, or `beatdesk/`; re-exports of an `__init__` are not counted.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "webapp"
# What a Celery project installs is one room below all others.
INSTALLED = "beatdesk"
PACKAGES = (INSTALLED, PACKAGE)
# Imports of our own from which on a module counts as one that knows much.
MANY_IMPORTS = 12


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure and its bar, the maximum; None if there is no bar."""

    name: str
    value: float
    bar: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bar."""
        return self.bar is None or self.value <= self.bar


def measures(root: Path = ROOT) -> list[Measure]:
    """Every figure of the structure."""
    modules = sorted(
        path for package in PACKAGES for path in (root / package).rglob("*.py") if path.name != "__init__.py"
    )
    trees = {path: ast.parse(path.read_text()) for path in modules}
    own = {path: len(set(_own_imports(tree))) for path, tree in trees.items()}
    lines = sum(len(path.read_text().splitlines()) for path in modules)
    folders = Counter(path.parent for path in modules)
    templates = Counter(path.parent for path in (root / PACKAGE / "templates").rglob("*") if path.is_file())
    return [
        Measure("pairs of rooms that import each other", len(mutual_pairs(room_imports())), 0),
        Measure("most modules in one folder", max(folders.values()), 20),
        Measure("most templates in one folder", max(templates.values()), 25),
        Measure(f"loose modules at the top of {PACKAGE}/", folders[root / PACKAGE], 10),
        Measure("modules", len(modules)),
        Measure("statements", sum(map(_statements, trees.values()))),
        Measure("imports of our own in 100 lines", round(100 * sum(own.values()) / lines, 1)),
        Measure(f"modules with {MANY_IMPORTS} or more of them", sum(count >= MANY_IMPORTS for count in own.values())),
    ]


def room_imports() -> dict[str, set[str]]:
    """Which rooms each room imports."""
    graph = grimp.build_graph(*PACKAGES)
    found: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            room, other = _room(module), _room(imported)
            if PACKAGE not in (room, other) and room != other:
                found[room].add(other)
    return dict(found)


def mutual_pairs(imports: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """The pairs of rooms that import each other."""
    return {(a, b) for a, others in imports.items() for b in others if a < b and a in imports.get(b, set())}


def _room(module: str) -> str:
    package, *rest = module.split(".")
    return package if package == INSTALLED or not rest else rest[0]


def _own_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            for alias in node.names:
                yield (
                    f"{node.module}.{alias.name}"
                    if alias.name.islower() and node.module in PACKAGES
                    else str(node.module)
                )


def _statements(tree: ast.Module) -> int:
    return sum(isinstance(node, ast.stmt) and not _is_docstring(node) for node in ast.walk(tree))


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def main() -> int:
    """Print all figures. The exit code is 1 if one is above its bar."""
    found = measures()
    width = max(len(measure.name) for measure in found)
    for measure in found:
        bar = "" if measure.bar is None else f"   bar {measure.bar:g}: {'yes' if measure.holds else 'NO'}"
        print(f"{measure.name:<{width}} {measure.value:>8g}{bar}")
    return 0 if all(measure.holds for measure in found) else 1


if __name__ == "__main__":
    sys.exit(main())
