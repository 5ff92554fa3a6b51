"""A report in words: a table with a column for each set of samples, intervals, and what real pictures get beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noisepath.evaluation.report import Comparison, Figure, LevelLoss, Report, SampleSet

if TYPE_CHECKING:
    from noisepath.evaluation.distances import Interval
    from noisepath.evaluation.run import Evaluation

__all__ = ["comparison_table", "summary"]

_SHARES = {"read_as_asked", "precision", "recall", "copies"}
_NAMES = {
    "read_as_asked": "read as asked",
    "frechet_distance": "Frechet distance",
    "frechet_ratio": "Frechet distance / real",
    "kernel_distance": "kernel distance",
    "nearest_ratio": "nearest training picture / real",
}


def summary(evaluation: Evaluation) -> str:
    """The whole evaluation for a terminal: figures, classes, loss, notes, and where the pictures are."""
    report = evaluation.report
    parts = [_head(report), _figures(report), _classes(report), _losses(report.losses)]
    parts += [f"note: {note}" for note in report.notes]
    missing = [f for found in report.samples for f in found.figures if f.value is None]
    parts += [f"note: {line}" for line in dict.fromkeys(f"{_name(f)}: {f.reason}" for f in missing)]
    grids = ", ".join(found.grid for found in report.samples)
    parts.append(f"in {evaluation.folder}: {grids}, neighbours.png, loss_by_level.png, report.json")
    return "\n".join(part for part in parts if part)


def _head(report: Report) -> str:
    kept = f"{report.held_out} held out of its training" if report.held_out else "none held out of its training"
    first = report.samples[0]
    terms = first.figures[0].terms
    made = f"{terms.generated} samples ({first.sampling.solver}, {first.sampling.steps} steps, seed {first.sampling.seed})"
    return f"{made} beside {terms.reference} {terms.reference_kind} pictures; the data has {report.pictures}, {kept}"


def _figures(report: Report) -> str:
    """A line for each figure; the interval of 95 % in brackets."""
    sets = report.samples
    rows = [["", *(_set_name(found) for found in sets), "real pictures"]]
    for place, figure in enumerate(sets[0].figures):
        same = [found.figures[place] for found in sets]
        cells = [_measured(figure, figure.value, figure.interval) for figure in same]
        rows.append([_name(figure), *cells, _measured(figure, figure.real, figure.real_interval)])
    return _aligned(rows)


def _classes(report: Report, most: int = 20) -> str:
    """What share of each class is read as asked."""
    sets = [found for found in report.samples if found.classes]
    if not sets:
        return ""
    rows = [["class, read as asked", *(_set_name(found) for found in sets), "real pictures"]]
    for place, reading in enumerate(sets[0].classes[:most]):
        cells = [_part(found.classes[place].right, found.classes[place].asked) for found in sets]
        rows.append([reading.name, *cells, _part(reading.real_right, reading.real_count)])
    if len(sets[0].classes) > most:
        rows.append([f"and {len(sets[0].classes) - most} more", *[""] * (len(sets) + 1)])
    return _aligned(rows)


def _losses(losses: Sequence[LevelLoss], most: int = 6) -> str:
    """Some levels, from noise to data;"""
    shown = [losses[round(i * (len(losses) - 1) / (most - 1))] for i in range(most)] if len(losses) > most else losses
    rows = [["loss at log-SNR", *(f"{loss.log_snr:g}" for loss in shown)]]
    for name in ("held_out", "training"):
        means = [getattr(loss, name) for loss in shown]
        if all(mean is not None for mean in means):
            cells = [f"{mean.value / loss.gaussian:.3g}" for mean, loss in zip(means, shown, strict=True)]
            rows.append([f"  {name.replace('_', '-')} pictures", *cells])
    return _aligned(rows)


def comparison_table(comparison: Comparison, a: str, b: str) -> str:
    """Two reports side by side: ``a`` and ``b`` are what they are called."""
    rows = [["", a, b, "change"]]
    for found in comparison.differences:
        guidance = "" if found.guidance == 1 else f", guidance {found.guidance:g}"
        cells = [_measured(figure, figure.value, figure.interval) for figure in (found.a, found.b)]
        mark = "" if not found.beyond_chance else " (beyond chance)"
        change = "" if found.change is None else f"{_number(found.name, found.change, sign=True)}{mark}"
        rows.append([_name(found.a) + guidance, *cells, change])
    return "\n".join([_aligned(rows), *(f"note: {note}" for note in comparison.notes)])


def _set_name(found: SampleSet) -> str:
    return "unguided" if found.sampling.guidance == 1 else f"guidance {found.sampling.guidance:g}"


def _name(figure: Figure) -> str:
    words = _NAMES.get(figure.name, figure.name)
    return words if figure.name in ("read_as_asked", "copies") else f"{words}, {figure.terms.features}"


def _measured(figure: Figure, value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    told = _number(figure.name, value)
    if interval is None:
        return told
    return f"{told} [{_number(figure.name, interval.low)}, {_number(figure.name, interval.high)}]"


def _number(name: str, value: float, sign: bool = False) -> str:
    plus = "+" if sign else ""
    return f"{100 * value:{plus}.1f} %" if name in _SHARES else f"{value:{plus}.3g}"


def _part(right: int, of: int) -> str:
    return f"{100 * right / of:.0f} % of {of}" if of else "-"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as need be: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"
