"""No solver is much worse than DDIM on any grid: every solver, spacing and schedule, 5 to 50 steps.

    python benchmarks/grids.py [--only SOLVER ...] [--unguarded] [--start exact]        about three minutes on one core

On Gaussian data of deviation 0.05, 0.3, 1 and 3 the deviation of a solver's samples is exact, by the recursion; its relative
error is divided by that of DDIM on the same grid, and errors below 1e-3 count as 1e-3.  A cell is one of all these.  Beyond
means above 1.5, or above 2 for a solver that draws noise.  "Equal calls" compares with DDIM's run of as many calls of the
network, on the same spacing, where the schedule has room for it.

--unguarded measures the methods as published.  --start exact starts runs with the data's own law at the first level, and not
with sigma_0 z as :func:`noisepath.sample` does.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from noisepath.analysis import DEVIATIONS, FACTORS, over_first_order
from noisepath.schedules import SCHEDULES, schedule
from noisepath.solvers import SOLVERS, ddim, unguarded
from noisepath.spacing import SPACINGS, most_steps
from noisepath.tableau import Tableau, calls

STEPS = (5, 10, 25, 50)
SHARE = 0.01
"""Of all cells, beyond their factor at most."""


@dataclass(frozen=True)
class Cell:
    """One solver on one grid, on data of one deviation."""

    solver: str
    schedule: str
    spacing: str
    steps: int
    deviation: float
    ratio: float
    equal_calls: float | None
    """The same over DDIM's error with as many calls."""

    @property
    def factor(self) -> float:
        return FACTORS[1 if SOLVERS[self.solver].stochastic else 0]


@cache
def first_order(name: str, spacing: str, steps: int) -> Tableau | None:
    """DDIM's run; None where the schedule has no room for it."""
    most = most_steps(schedule(name))
    return None if most is not None and steps > most else ddim(SPACINGS[spacing](schedule(name), steps))


def cells(solvers: Sequence[str], *, guard: bool = True, exact_start: bool = False) -> Iterator[Cell]:
    """Every cell of these solvers; DDIM itself and those that are not bounded have none."""
    for name in SCHEDULES:
        for spacing, space in SPACINGS.items():
            for steps in STEPS:
                levels = space(schedule(name), steps)
                for solver in solvers:
                    if solver == "ddim" or not SOLVERS[solver].bounded:
                        continue
                    build = SOLVERS[solver].build
                    table = (build if guard else unguarded(build))(levels)
                    found = ratios(table, first_order(name, spacing, steps), exact_start)
                    equal = ratios(table, first_order(name, spacing, calls(table)), exact_start)
                    for i, deviation in enumerate(DEVIATIONS):
                        over = None if equal is None else float(equal[i])
                        yield Cell(solver, name, spacing, steps, deviation, float(found[i]), over)


def ratios(table: Tableau, first: Tableau | None, exact_start: bool) -> Any:
    return None if first is None else over_first_order(table, first, exact_start=exact_start)


def line(name: str, found: Sequence[Cell], ratio: Callable[[Cell], float | None] = lambda cell: cell.ratio) -> str:
    """Of some cells: how many, the share beyond the factor, how many above the most, the largest, the geometric mean."""
    pairs = [(value, cell.factor) for cell in found if (value := ratio(cell)) is not None]
    values = np.array([value for value, _ in pairs])
    beyond = np.mean([value > factor + 1e-9 for value, factor in pairs])
    above, mean = int((values > FACTORS[2]).sum()), float(np.exp(np.log(values).mean()))
    return f"| {name} | {len(pairs)} | {100 * beyond:.2f} | {above} | {values.max():.2f} | {mean:.3f} |"


def main() -> None:
    """Print a table by solver and by spacing; the last lines are the figures and their targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SOLVERS))
    parser.add_argument("--unguarded", action="store_true")
    parser.add_argument("--start", choices=("noise", "exact"), default="noise")
    given = parser.parse_args()
    found = list(cells(given.only, guard=not given.unguarded, exact_start=given.start == "exact"))
    for title in ("solver", "spacing", "schedule", "steps", "deviation"):
        groups: dict[Any, list[Cell]] = defaultdict(list)
        for cell in found:
            groups[getattr(cell, title)].append(cell)
        print(f"\n| {title} | cells | beyond, % | above {FACTORS[2]:g} | largest | geometric mean |\n|---|---|---|---|---|---|")
        for name, group in groups.items():
            print(line(str(name), group), flush=True)
    beyond = sum(cell.ratio > cell.factor + 1e-9 for cell in found)
    above = sum(cell.ratio > FACTORS[2] for cell in found)
    print(f"\n{line('all', found)}\n{line('all, at equal calls', found, lambda cell: cell.equal_calls)}")
    for label, value, target, good in (
        ("share of cells beyond their factor", f"{beyond / len(found):.4f}", f"<= {SHARE:g}", beyond <= SHARE * len(found)),
        (f"cells above {FACTORS[2]:g}", str(above), "0", above == 0),
    ):
        print(f"{label:48} {value:10} {target:8} {'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
