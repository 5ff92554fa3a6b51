"""``noisepath compare``: solvers side by side on a trained model, as a table, a figure and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from noisepath import plots
from noisepath.cli.labels import labelled, labels_for
from noisepath.comparing import TUNED, Comparison, compare
from noisepath.files import check_folder, write_whole
from noisepath.training.checkpoint import load
from noisepath.tuned import Tuned, load_tuned, tuned_of_run

if TYPE_CHECKING:
    from noisepath.cli.options import Compare

__all__ = ["run", "table"]


def run(command: Compare, device: str) -> None:
    """Compare, print the table, write the figure and the JSON."""
    beside = _beside(command.out)
    if command.n < 1:
        raise ValueError(f"n is the number of pictures, 1 or more, but is {command.n}")
    denoiser = load(command.run, device, limit="stored" if command.limit else None)
    labels = labels_for(denoiser, command.classes, command.n)
    made = compare(
        denoiser,
        [name for name in command.solvers if name != TUNED],
        tuned=_tuned(command.run) if TUNED in command.solvers else (),
        calls=command.calls or None,
        steps=command.steps or None,
        spacings=command.spacing,
        guidance=command.guidance,
        condition=None if labels is None else labelled(denoiser, labels),
        n=command.n,
        seed=command.seed,
        tolerance=command.tolerance,
        keep=command.keep,
        batch_size=command.batch_size,
        progress=command.progress,
    )
    with write_whole(beside) as part:
        part.write_text(json.dumps({"run": str(command.run), **made.to_dict()}, indent=1) + "\n", encoding="utf-8")
    plots.comparison_figure(made, command.out)
    print(table(made))
    print(f"\ndrawn in {command.out}, the figures are in {beside}")


def _tuned(run: Path) -> list[Tuned]:
    """The samplers that were tuned to a run."""
    found = [load_tuned(path) for path in tuned_of_run(run).values()]
    if not found:
        raise ValueError(f"{str(run)!r} has no tuned samplers yet: noisepath tune {run} makes them")
    return found


def _beside(out: Path) -> Path:
    """The JSON's place, beside the figure's."""
    if out.is_dir() or out.suffix.lower() != ".png":
        raise ValueError(f"--out names the figure, a file that ends in .png, but is {str(out)!r}")
    check_folder(out.parent)
    return out.with_suffix(".json")


def table(made: Comparison) -> str:
    """A line for each solver and number of calls; then how far the reference can be trusted."""
    titles = ["solver", "spacing", "guidance", "steps", "calls", "distance (RMS)", "median"]
    rows = [titles]
    for entry in made.entries:
        counts = [f"{entry.guidance:g}", str(entry.steps), str(entry.calls)]
        rows.append([entry.solver, entry.spacing, *counts, _told(entry.rmse), _told(entry.median)])
    if len(made.references) == 1:
        rows = [[*row[:2], *row[3:]] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_padded(*cell) for cell in enumerate(zip(row, widths, strict=True))) for row in rows]
    return "\n".join([*lines, "", *_of_the_reference(made)])


def _padded(column: int, cell: tuple[str, int]) -> str:
    """Names to the left, numbers to the right."""
    text, width = cell
    return text.ljust(width) if column < 2 else text.rjust(width)


def _told(distance: float | None) -> str:
    return "-" if distance is None else f"{distance:.4f}"


def _of_the_reference(made: Comparison) -> list[str]:
    lines = [f"distance over {made.n} pictures in [-1, 1] of seed {made.seed}, from the converged answer to the same noise"]
    for reference in made.references:
        scale = f" with guidance {reference.guidance:g}" if len(made.references) > 1 else ""
        if reference.moved is None:
            lines.append(f"the reference{scale}: {reference.calls} calls, all there is room for: it may not have converged")
            continue
        verdict = "smaller distances say nothing" if reference.converged else (
            f"NOT CONVERGED to {reference.tolerance:g}: distances below a few times that say nothing"
        )
        lines.append(f"the reference{scale}: {reference.calls} calls, half as many are {reference.moved:.4f} away; {verdict}")
    if any(entry.rmse is None for entry in made.entries):
        lines.append("- draws noise: no one path, so no distance from it")
    return lines
