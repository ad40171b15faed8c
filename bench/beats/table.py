"""The results as a table: ours, each peer, the ratio to the best peer, the bar and whether it is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.beats.measures import Measure, Value
from bench.beats.targets import OURS, OURS_SQLITE, Target

WIDEST_NOTE = 40

Results = Mapping[str, Mapping[str, Value]]


def best(measure: Measure, values: Sequence[Value | None]) -> float | None:
    """The best number among them, None if there is none."""
    numbers = [value.number for value in values if value is not None and value.number is not None]
    if not numbers:
        return None
    return max(numbers) if measure.better == "higher" else min(numbers)


def ratio(measure: Measure, ours: Value | None, other: float | None) -> str:
    """How many times better ours is than another number: below 1 it is worse. Empty where that cannot be said.

    Numbers that may be 0 (lost messages, an early message) have no ratio: they are "equal", "better" or "worse".
    """
    if ours is None or ours.number is None or other is None:
        return ""
    if ours.number == other:
        return "equal"
    better = ours.number > other if measure.better == "higher" else ours.number < other
    if ours.number <= 0 or other <= 0:
        return "better" if better else "worse"
    quotient = ours.number / other if measure.better == "higher" else other / ours.number
    if quotient >= 10:
        return f"×{quotient:,.1f}"
    return f"×{quotient:.2f}" if quotient >= 0.1 else f"×{quotient:.1g}"


def number(value: float, unit: str) -> str:
    """Three significant digits or the whole number, with its unit; milliseconds become seconds from 10,000 on."""
    if unit == "ms" and abs(value) >= 10_000:
        value, unit = value / 1000, "s"
    if 0 < abs(value) < 0.1:
        return f"{value:.1g} {unit}".rstrip()
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def cell(measure: Measure, value: Value | None) -> str:
    """A value as the table shows it, empty if it was not measured."""
    if value is None:
        return ""
    return value.note[:WIDEST_NOTE] if value.number is None else number(value.number, measure.unit)


def verdict(measure: Measure, ours: Value | None, sqlite: Value | None) -> str:
    """Whether the bars are reached, on PostgreSQL and, where there is a bar for it, on SQLite."""
    words = {True: "yes", False: "NO", None: ""}
    here = words[measure.reached(ours, measure.bar)]
    there = words[measure.reached(sqlite, measure.sqlite_bar)]
    return here if not there or here == there else f"{here or '–'}, SQLite {there}"


def bar(measure: Measure) -> str:
    """The bar, with the one for SQLite where it differs."""
    if measure.bar is None:
        return ""
    text = number(measure.bar, measure.unit)
    if measure.sqlite_bar is not None and measure.sqlite_bar != measure.bar:
        text += f" ({number(measure.sqlite_bar, '')})"
    return text


def rows(measures: Sequence[Measure], targets: Sequence[Target], results: Results) -> list[list[str]]:
    """The table, its heading first. Lines of which nothing was measured are left out."""
    peers = [target for target in targets if not target.ours]
    table = [["measure", *(target.title for target in targets), "to best peer", "bar", "reached"]]
    for measure in measures:
        values = {target.key: results.get(target.key, {}).get(measure.key) for target in targets}
        if not any(values.values()):
            continue
        ours = values.get(OURS.key)
        line = [measure.title, *(cell(measure, values[target.key]) for target in targets)]
        line.append(ratio(measure, ours, best(measure, [values[peer.key] for peer in peers])))
        line += [bar(measure), verdict(measure, ours, values.get(OURS_SQLITE.key))]
        table.append(line)
    return table


def text(table: Sequence[Sequence[str]]) -> str:
    """The table for a terminal and for Markdown alike."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]

    def formatted(line: Sequence[str]) -> str:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return "| " + " | ".join((first, *rest)) + " |"

    rules = ["-" * (width + 1) + ":" if column else "-" * (width + 2) for column, width in enumerate(widths)]
    ruler = "|" + "|".join(rules) + "|"
    return "\n".join([formatted(table[0]), ruler, *(formatted(line) for line in table[1:])])
