"""The order of every solver: stated, as theory has it, and measured, on variance-preserving, exploding and flow levels.

    python benchmarks/orders.py [--only NAME ...]

On a smooth grid over a finite stretch of log-SNR, in float64, with exact denoisers: a mixture (the largest error of 41
states) and Gaussian data of three variances (the largest of their errors).  Each solver is measured without its guard, as it
runs, with its own first steps, and, where it looks back, from exact start values.  One that draws noise is measured by its law
on the Gaussians alone (weak order; the recursion of mean and variance is exact).  The grids are uniform in what is natural to
the path:

    VP    log-SNR          VE    sigma          flow  t = sigma

The last line counts the slopes that are within 0.2 of theory; each of the others has its reason printed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import torch

from noisepath.analysis import Problem, gaussian_problem, measured_order
from noisepath.levels import Level
from noisepath.solvers import SOLVERS, Solver, unguarded

REACH = 1.5  # log(alpha / sigma) from -REACH to REACH; VE's, uniform in sigma, to 1, where its last steps are small enough
VARIANCES = (0.1, 0.7, 2.0)
WITHIN = 0.2


def vp(steps: int) -> list[Level]:
    """Uniform in log-SNR."""
    return [Level.from_log_snr(2.0 * REACH * (2.0 * i / steps - 1.0)) for i in range(steps + 1)]


def ve(steps: int) -> list[Level]:
    """Uniform in sigma, alpha = 1."""
    return [Level(1.0, math.e + (1.0 / math.e - math.e) * i / steps) for i in range(steps + 1)]


def flow(steps: int) -> list[Level]:
    """Uniform in t, alpha = 1 - t and sigma = t."""
    first = 1.0 / (1.0 + math.exp(-REACH))
    return [Level(1.0 - t, t) for t in (first + (1.0 - 2.0 * first) * i / steps for i in range(steps + 1))]


GRIDS = {"VP": vp, "VE": ve, "flow": flow}
STEPS = {"edm": (512, 1024), "rk4": (32, 64)}
"""Numbers of steps where 128 and 256 do not show the slope: churn is cut off below 97 steps; rounding rules."""

EQUAL_STEPS = ("ipndm", "pndm", "plms")
START = "A h^2 of its first steps is small beside its own B h^3, as equal steps of sigma begin short: 2 from 1024 steps on"
LATE = "A h^3 of its first steps is small beside its own B h^4 on equal steps of sigma: no usual number of steps shows the 3"
NOISE = "A h^2, from noise inside a step that no polynomial follows, is small beside its own B h^3: nearer to 2 at 1024 steps"
REASONS = {
    "midpoint": "on Gaussian data x / (alpha + sigma) is the root of a parabola in u, whose leading error is 0: order 3 there",
    "adams": START,
    "deis": START,
    "plms": LATE,
    "adams_moulton": LATE,
    "dpmpp_3m_sde": NOISE,
    "sa_solver": NOISE,
}
"""Why a slope is further than 0.2 from theory, a line for each solver that has one."""


def theory(solver: Solver, name: str, grid: str, exact: bool) -> int:
    """The order that the method has: its own from exact starts, else as its first steps let it."""
    if name not in EQUAL_STEPS:
        return solver.order_from_exact_starts if exact else solver.order
    if grid != "VE":
        return 2  # weights for equal steps of sigma / alpha
    return solver.own_order if exact else {"ipndm": 2, "plms": 3, "pndm": 4}[name]  # pndm's start is of order 4, plms' of 2


def slope(build: Callable[..., object], problems: Sequence[str | Problem], steps: tuple[int, int], **options: object) -> float:
    """The slope of the largest error over the problems."""
    found = [measured_order(build, problem=problem, steps=steps, **options) for problem in problems]  # type: ignore[arg-type]
    coarse, fine = (max(order.errors[i] for order in found) for i in (0, 1))
    return math.log(coarse / fine) / math.log(steps[1] / steps[0])


def main() -> None:
    """Print a line for each solver and grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SOLVERS))
    torch.set_num_threads(1)
    names = parser.parse_args().only
    gaussians = [gaussian_problem(variance=v) for v in VARIANCES]
    print(f"{'solver':20}{'grid':6}{'starts':8}{'theory':>7}{'mixture':>9}{'Gaussian':>10}   steps")
    good = total = 0
    bare: list[str] = []
    for name in names:
        solver = SOLVERS[name]
        if solver.order == 0:
            print(f"{name:20}does not lead to the exact answer by smaller steps: no order")
            continue
        odd, build = False, unguarded(solver.build)
        for grid, levels in GRIDS.items():
            for starts in (0, solver.looks_back) if solver.looks_back else (0,):
                expected = theory(solver, name, grid, starts > 0)
                steps = STEPS.get(name, (128, 256))
                options = {"levels": levels, "stochastic": solver.stochastic, "exact_starts": starts}
                found = [slope(build, gaussians, steps, **options)]
                if not solver.stochastic:
                    found.insert(0, slope(build, ["mixture"], steps, **options))
                cells = "".join(f"{value:9.2f} " for value in found).rjust(20)
                near = [abs(value - expected) <= WITHIN for value in found]
                good, total, odd = good + sum(near), total + len(near), odd or not all(near)
                which = "exact" if starts else "its own"
                mark = "" if all(near) else "   *"
                print(f"{name:20}{grid:6}{which:8}{expected:7d}{cells}  {steps[0]}, {steps[1]}{mark}", flush=True)
        if odd:
            bare += [] if name in REASONS else [name]
            print(f"  * {REASONS.get(name, 'no reason known')}")
    unexplained = ", ".join(bare) or "none"
    print(f"\nslopes within {WITHIN:g} of theory: {good} of {total}; others without a reason: {unexplained} (target: none)")


if __name__ == "__main__":
    main()
