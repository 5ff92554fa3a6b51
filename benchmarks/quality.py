"""Quality per call of the network on ideal denoisers: noisepath's default beside 439 configurations of four other libraries.

    python benchmarks/quality.py [--also SOLVER[:KEY=VALUE,...][@SPACING[:KEY=VALUE,...]] ...] [--problem NAME ...]

    --also ddim @karras adams:frame=flow,order=3@asinh:scale=0.2        about a minute for each on one core

The problems and their answers are those of ``_problems.py``; what the others reach is kept (``quality_peers.py`` measured
it). All begin at the same starts. noisepath samples with nothing said but the calls, once as of a denoiser that nothing is
known of, and once knowing how wide the data are, as a run of ours does; what ``--also`` names stands beside, outside the
verdict, with the most steps that make no more calls. Each cell has the RMSE over all starts and their median error.

"In hindsight" is the best of all configurations, chosen anew in each cell: no one can run that.  "The best single one" is the
one configuration that is best over all cells of all problems, by the geometric mean, still chosen afterwards.  The interval of
a ratio to it is that of 1,000 resamples of the starts, the same ones for both.  A shipped default is compared over the cells
that it has.
"""

from __future__ import annotations

import argparse
import ast
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import _kept
from _kept import MEASURES, Cell, Kept, geometric
from _problems import CACHE, LARGEST, SCHEDULE, Problem, answers, disagreement, errors, figures, problem
from noisepath import sample
from noisepath.errors import lookup
from noisepath.evaluation.distances import percentiles
from noisepath.sampling import steps_within
from noisepath.solvers import SOLVERS
from noisepath.spacing import SPACINGS
from noisepath.tableau import START, Draw

OURS, KNOWING = "noisepath", "noisepath, knowing the width"
GOAL = 1.15
RESAMPLES = 1000
AGREED = 1e-10
Errors = dict[int, Any]
"""calls -> the error of each start (n,)."""


@dataclass(frozen=True)
class Measured:
    """One problem: what the others reach, and the errors of our own configurations by name, the default first."""

    kept: Kept
    own: dict[str, Errors]

    def cells(self, name: str) -> dict[int, Cell]:
        if name in self.own:
            return {calls: figures(torch.from_numpy(found)) for calls, found in self.own[name].items()}
        return self.kept.rows[name].cells


# Our side ----------------------------------------------------------------------------------------------------------------


def configuration(text: str) -> dict[str, Any]:
    """The options of ``sample`` that SOLVER[:options][@SPACING[:options]] says; either may be left out."""
    solver, _, spacing = text.partition("@")
    options: dict[str, Any] = {}
    if solver:
        name, given = _with_options(solver)
        options["solver"] = partial(lookup(SOLVERS, name, "solver").build, **given)
    if spacing:
        name, given = _with_options(spacing)
        options["spacing"] = partial(lookup(SPACINGS, name, "spacing"), **given)
    return options


def _with_options(text: str) -> tuple[str, dict[str, Any]]:
    name, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    return name, {key: _value(value) for key, _, value in pairs}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def made(asked: Problem, calls: int, *, knowing: bool = False, **options: Any) -> Tensor:
    """Our last states from the problem's starts, with the most steps that make no more calls."""

    def noise(place: Draw) -> Tensor:
        if place != START:
            raise ValueError("a solver that draws noise does not end where the ODE does: it has no error here")
        return asked.start / LARGEST

    denoiser = asked.knowing if knowing else asked.denoiser
    run = partial(sample, denoiser, asked.start.shape, noise=noise, dtype=torch.float64)
    try:
        return run(calls=calls, **options)
    except ValueError as error:
        if "makes exactly" not in str(error):
            raise
        width = getattr(denoiser, "data_scale", None)
        return run(steps=steps_within(SCHEDULE, calls, data_scale=width, **options), **options)


def measured(kept: Kept, also: Sequence[str], cache: Path) -> Measured:
    """Every configuration of ours at every number of calls."""
    asked = problem(kept.problem, kept.starts)
    if asked.mark != kept.mark:
        sys.exit(f"{kept.problem}: the others' figures are of other starts; measure them anew with quality_peers.py")
    assert disagreement(asked) <= AGREED
    answer, _ = answers(asked, cache)
    own: dict[str, Errors] = {}
    asks = {OURS: {}, KNOWING: {"knowing": True}, **{f"{OURS} {name}": configuration(name) for name in also}}
    for name, options in asks.items():
        own[name] = {calls: errors(made(asked, calls, **options), answer).numpy() for calls in kept.calls}
    return Measured(kept, own)


# Comparing ---------------------------------------------------------------------------------------------------------------


def redrawn(found: Any, starts: Any) -> Any:
    """RMSE and median over resamples of the starts (R, n): (R, 2)."""
    drawn, middle = found.astype(np.float64)[starts], (len(found) - 1) // 2
    return np.stack([np.sqrt((drawn**2).mean(1)), np.partition(drawn, middle, axis=1)[:, middle]], axis=1)


def ratios(held: Measured, single: str, folder: Path) -> dict[int, Any]:
    """The logarithms of ours / the best single one, redrawn: calls -> (R, 2)."""
    theirs, kept = _kept.read_errors(held.kept.problem, folder), held.kept
    if any((single, calls) not in theirs for calls in kept.calls):
        sys.exit(f"the errors of {single} on {kept.problem} are not kept: run quality_peers.py again")
    starts = np.random.default_rng(0).integers(kept.starts, size=(RESAMPLES, kept.starts))
    return {
        calls: np.log(redrawn(found, starts) / redrawn(theirs[single, calls], starts))
        for calls, found in held.own[OURS].items()
    }


def ratio(ours: dict[int, Cell], theirs: dict[int, Cell]) -> float:
    """Of the geometric means, over the cells that the other has."""
    there = [calls for calls, cell in theirs.items() if cell is not None]
    return geometric(ours[calls] for calls in there) / geometric(theirs[calls] for calls in there)


def nearest_shipped(held: Measured) -> tuple[float, str]:
    """The largest ratio of ours to a shipped default, and whose."""
    ours = held.cells(OURS)
    return max((ratio(ours, held.cells(name)), name) for name in held.kept.shipped())


# What is said ------------------------------------------------------------------------------------------------------------


def said(cell: Cell) -> str:
    return "-" if cell is None else "/".join(f"{figure:.3g}" for figure in cell)


def show(held: Measured, single: str, logs: dict[int, Any]) -> None:
    """A problem's table: a row for each, and ours beside the best single one with intervals."""
    kept = held.kept
    here = _kept.singles([kept])[0][1]
    rows = {"in hindsight": kept.line(), f"best single: {single}": kept.rows[single].cells}
    rows |= {f"best single here: {here}": kept.rows[here].cells} if here != single else {}
    rows |= {name: held.cells(name) for name in held.own}
    rows |= {f"{kept.rows[name].library}: {name}": kept.rows[name].cells for name in kept.shipped()}
    print(f"\n{kept.problem}, {kept.starts} starts: {'/'.join(MEASURES)}, and the geometric mean of all; "
          f"answers exact to {kept.apart:.0e}")  # fmt: skip
    print(f"| calls | {' | '.join(map(str, kept.calls))} | mean |")
    print("|---" * (len(kept.calls) + 2) + "|")
    for name, cells in rows.items():
        mean = geometric(cells.values())
        told = [said(cells[calls]) for calls in kept.calls]
        print(f"| {name} | {' | '.join(told)} | {f'{mean:.4g}' if math.isfinite(mean) else '-'} |")
    print("best in the cell: " + "; ".join(f"{n}: {kept.best(n, 0)[1]} / {kept.best(n, 1)[1]}" for n in kept.calls))
    print(f"\n| {OURS} / best single | {' | '.join(MEASURES)} |\n|---|---|---|")
    ours, theirs = held.cells(OURS), kept.rows[single].cells
    for calls in kept.calls:
        pairs = zip(ours[calls] or (), theirs[calls] or (), logs[calls].T, strict=True)
        print(f"| {calls} | {' | '.join(with_interval(own / other, drawn) for own, other, drawn in pairs)} |")


def with_interval(value: float, logs: Any) -> str:
    within = percentiles(np.exp(logs))
    return f"{value:.3g} [{within.low:.3g}, {within.high:.3g}]"


def verdict(problems: Sequence[Measured], single: str, logs: Sequence[dict[int, Any]]) -> None:
    """The means, and lines of a figure, its target and whether it is met."""
    kepts = [held.kept for held in problems]

    def mean(cells_of: Callable[[Measured], dict[int, Cell]]) -> float:
        return geometric(cell for held in problems for cell in cells_of(held).values())

    theirs = mean(lambda held: held.cells(single))
    line = mean(lambda held: held.kept.line())
    print("\ngeometric means over all cells of " + ", ".join(kept.problem for kept in kepts))
    for name in problems[0].own:
        own = mean(lambda held, name=name: held.cells(name))
        print(f"{name:48} {own:.4g}: {own / theirs:.3g} of the best single one, {own / line:.3g} of hindsight's")
    value = mean(lambda held: held.cells(OURS)) / theirs
    drawn = np.concatenate([table for group in logs for table in group.values()], axis=1).mean(1)
    label = f"{OURS} / best single of {len(kepts[0].rows)} ({single})"
    lines = [(label, with_interval(value, drawn), "<= 1", value <= 1.0)]
    for held in problems:
        most, name = nearest_shipped(held)
        label = f"{held.kept.problem}: {OURS} / nearest shipped ({held.kept.rows[name].library}: {name})"
        lines.append((label, f"{most:.3g}", "< 1", most < 1.0))
    for number, measure in enumerate(MEASURES):
        own, best = (
            geometric((cell[number],) for held in problems for cell in cells_of(held).values() if cell)
            for cells_of in (lambda held: held.cells(KNOWING), lambda held: held.kept.line())
        )
        print(f"{KNOWING}, {measure} cells: {own / best:.3g} of the best in each" + (f", goal {GOAL}" if not number else ""))
    print()
    for label, figure, target, good in lines:
        print(f"{label:78} {figure:22} {target:6} {'ok' if good else 'MISSED'}")


def main() -> None:
    """Measure ours, read theirs, compare; the last lines are the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--also", nargs="*", default=[], metavar="SOLVER@SPACING")
    parser.add_argument("--problem", nargs="+", help="of those that are kept; all if not given")
    parser.add_argument("--peers", type=Path, default=_kept.FOLDER, help="where the others' figures are kept")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the exact answers are kept")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    known = _kept.read_all(given.peers)
    if not known:
        sys.exit(f"no figures of others in {given.peers}: quality_peers.py measures them")
    kepts = [lookup(known, name, "problem") for name in given.problem or known]
    problems = [measured(kept, given.also, given.cache) for kept in kepts]
    single = _kept.singles(kepts)[0][1]
    logs = [ratios(held, single, given.peers) for held in problems]
    for held, drawn in zip(problems, logs, strict=True):
        show(held, single, drawn)
    verdict(problems, single, logs)


if __name__ == "__main__":
    main()
