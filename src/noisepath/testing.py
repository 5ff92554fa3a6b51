"""The laws of solvers as one function, for a solver of your own: :func:`check_solver`.

Everything is exact (Gaussian data, mixtures, recursion), in float64 and without a network: a few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .analysis import FACTORS, PROBLEMS, Problem, gaussian_law, gaussian_problem, measured_order, over_first_order
from .levels import Level
from .loop import run_loop
from .scalings import SCALINGS
from .schedules import schedule
from .solvers import ddim
from .spacing import SPACINGS
from .tableau import Draw, Tableau, check, draws

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HARD_GRIDS", "RATIOS", "SolverReport", "at", "check_solver"]

Build = Callable[[Sequence[Level]], Tableau]
RATIOS = (9.0, 4.0, 2.2, 1.1, 0.5, 0.21, 0.06, 0.02)
"""sigma / alpha of a short run."""
VARIANCES = (0.1, 0.7, 2.0)
"""Of the Gaussian data that orders are measured on."""


@dataclass(frozen=True)
class SolverReport:
    """What :func:`check_solver` found: one line for each law that does not hold, and the orders measured."""

    broken: tuple[str, ...]
    orders: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        measured = ", ".join(f"{name}: {order:.2f}" for name, order in self.orders.items())
        return "\n".join([*(self.broken or ["all laws hold"]), f"measured order: {measured}"])


def check_solver(
    build: Build,
    *,
    order: int,
    stochastic: bool = False,
    looks_back: int = 0,
    own_order: int = 0,
    any_grid: bool = True,
    noise_tolerance: float = 1e-9,
    holds_belief: bool = True,
    bounded: bool = True,
    tolerance: float = 0.25,
    steps: tuple[int, int] = (64, 128),
    strict: bool = True,
) -> SolverReport:
    """Hold a solver, ``levels -> tableau``, to the laws.

    1. its table can be run, ends at the last level, and has finite weights, from pure noise to data and for 1 to 20 steps; and
       it asks about no more noise than the first level has, nor about less than the last one before data, and draws where it
       says so;
    2. at the same log-SNRs it makes the same samples on every path (1e-9);
    3. at a start with alpha = 1e-12 it does what it does at alpha = 0;
    4. with a belief that never changes the noise keeps its variance, and what is left at the end is the belief;
    5. on Gaussian data of three variances and a mixture its error falls with the stated order: on an even grid, on one whose
       steps grow and shrink, and on one whose steps are long and short in turn (weak order, on the Gaussians, where it draws
       noise); and with its own order from exact start values;
    6. on a few long steps out of much noise it is no worse than DDIM (one of order 2 or more that draws nothing);
    7. on grids of people's schedules and spacings that are hard for high orders its error is at most three times DDIM's, on
       Gaussian data of four deviations (left out at order 0).  A :class:`noisepath.solvers.Guard` sees to that.

    Args:
        build: the solver; options by ``functools.partial``.
        order: of a whole run, its start included; 0 where smaller steps do not lead to the answer (law 5 is left out then).
        stochastic: whether it draws noise.
        looks_back, own_order: from so many exact start values (the states at the ends of so many first steps) it has this
            order, on equal steps of sigma / alpha; left out at 0.
        any_grid: whether it keeps its order where steps alternate (not one whose weights are for equal steps).
        noise_tolerance: how exactly law 4's variance is to hold (not so exactly for Langevin steps).
        holds_belief: whether a constant belief is to be followed exactly (not in the trig frame).
        bounded: whether it is held to law 7 (not a method as published, without a guard).
        tolerance: of the slope, downwards.
        steps: between which the slope is measured; more where a solver changes its manner with their number.
        strict: raise AssertionError with the report where a law is broken; else only report.
    """
    orders: dict[str, float] = {}
    laws = {
        "table": _runs(build),
        "range": _asks_within(build, stochastic),
        "frame invariance": _frames(build),
        "ends": _near_noise(build),
        "constant belief": _constant_belief(build, noise_tolerance, holds_belief),
        "order": _orders(build, order, stochastic, any_grid, steps, tolerance, orders) if order else iter(()),
        "long steps": _long_steps(build) if order > 1 and not stochastic else iter(()),
        "grids": _hard_grids(build) if order and bounded else iter(()),
        "own order": _own_order(build, own_order, looks_back, tolerance, orders) if own_order else iter(()),
    }
    broken = [line for name, lines in laws.items() for line in _told(name, lines)]
    report = SolverReport(tuple(broken), orders)
    if strict and broken:
        raise AssertionError(str(report))
    return report


def _told(name: str, lines: Iterator[str]) -> Iterator[str]:
    """The lines of a law; an error on the way is one of them."""
    try:
        yield from lines
    except (ValueError, ArithmeticError) as error:
        yield f"{name}: {error}"


def at(frame: str, noise_ratio: float) -> Level:
    """The level with this sigma / alpha, 0 and inf included, on a path of ``noisepath.scalings.SCALINGS``."""
    if noise_ratio == 0.0:
        return Level(1.0, 0.0)
    if math.isinf(noise_ratio):
        return Level(0.0, 1.0)
    alpha, sigma = SCALINGS[frame].alpha_sigma(torch.tensor(-2.0 * math.log(noise_ratio), dtype=torch.float64))
    return Level(float(alpha), float(sigma))


def _grid(steps: int) -> list[float]:
    """From pure noise to data in so many steps."""
    inner = [30.0 * (0.01 / 30.0) ** (i / max(steps - 2, 1)) for i in range(steps - 1)]
    return [math.inf, *inner, 0.0]


def _runs(build: Build) -> Iterator[str]:
    for steps in (*range(1, 9), 20):
        levels = [at("preserving", ratio) for ratio in _grid(steps)]
        try:
            table = build(levels)
            check(table)
        except (ValueError, ArithmeticError) as error:
            yield f"table of {steps} steps from pure noise to data: {error}"
            continue
        if table[-1].level != levels[-1] or table[0].level != levels[0]:
            yield f"table of {steps} steps: it does not lead from the first level to the last"
        if table[-1].draws or not bool(torch.isfinite(_result(table, levels)).all()):
            yield f"table of {steps} steps: noise is added in the step to data, or the result is not finite"


def _asks_within(build: Build, stochastic: bool) -> Iterator[str]:
    first, last = RATIOS[0], RATIOS[-1]
    fine = [first * (last / first) ** (i / 30) for i in range(31)]
    for ratios in (RATIOS, fine):
        table = build([at("preserving", ratio) for ratio in (*ratios, 0.0)])
        if bool(draws(table)) != stochastic:
            yield f"draws: it draws {'noise' if draws(table) else 'nothing'}, but is said to be stochastic={stochastic}"
        for ratio in (node.level.noise_ratio for node in table if node.evaluate):
            if not last * (1.0 - 1e-9) <= ratio <= first * (1.0 + 1e-9):
                span = f"from {first:g} to {last:g}"
                yield f"range: the denoiser is asked at sigma / alpha = {ratio:.4g}, but the run's noisy levels go {span}"


def _frames(build: Build) -> Iterator[str]:
    for ratios in (RATIOS, (*RATIOS, 0.0), (math.inf, *RATIOS, 0.0)):
        base = [at("preserving", ratio) for ratio in ratios]
        expected = _result(build(base), base) / (base[-1].alpha + base[-1].sigma)
        for frame in SCALINGS:
            levels = [at(frame, ratio) for ratio in ratios]
            got = _result(build(levels), levels) / (levels[-1].alpha + levels[-1].sigma)
            worst = float((got - expected).abs().max())
            if not worst < 1e-9:
                yield f"frame invariance: {worst:.1g} apart on the path {frame!r}, at the same log-SNRs"


def _near_noise(build: Build) -> Iterator[str]:
    rest = [at("preserving", ratio) for ratio in (*RATIOS, 0.0)]
    exact = [Level(0.0, 1.0), *rest]
    near = [Level(1e-12, math.sqrt(1.0 - 1e-24)), *rest]
    worst = float((_result(build(near), near) - _result(build(exact), exact)).abs().max())
    if not worst < 0.1:
        yield f"ends: a start at alpha = 1e-12 ends {worst:.1g} away from one at alpha = 0"


def _long_steps(build: Build) -> Iterator[str]:
    known = PROBLEMS["mixture"]()
    for ratios in ((80.0, 2.0, 1.0), (200.0, 5.0, 2.0, 1.0), (1e3, 3.0, 1.5)):
        levels = [at("preserving", ratio) for ratio in ratios]
        start = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64) * math.hypot(levels[0].alpha, levels[0].sigma)
        right = known.flow(start, levels[0], levels[-1])
        own, first = (
            float((run_loop(table, known.denoise, start) - right).abs().max()) for table in (build(levels), ddim(levels))
        )
        if not own < 1.1 * first:
            step = f"from sigma / alpha = {ratios[0]:g} to {ratios[1]:g}"
            yield f"long steps: {step} it errs {own / first:.2f} times as much as DDIM"


HARD_GRIDS = (
    ("linear", "time", 25),
    ("linear", "karras", 10),
    ("cosine", "kl_optimal", 10),
    ("edm", "time", 10),
    ("flow", "log_snr", 5),
    ("laplace", "trailing", 5),
    ("laplace", "leading", 10),
)
"""Schedule, spacing and steps: ends of a long step, long steps out of much noise, and few long ones."""


def _hard_grids(build: Build) -> Iterator[str]:
    for name, spacing, steps in HARD_GRIDS:
        levels = SPACINGS[spacing](schedule(name), steps)
        worst = float(over_first_order(build(levels), ddim(levels)).max())
        if not worst <= FACTORS[2]:
            yield f"grids: on {steps} steps of the spacing {spacing!r} on {name!r} it errs {worst:.3g} times as much as DDIM"


def _constant_belief(build: Build, noise_tolerance: float, holds_belief: bool) -> Iterator[str]:
    """Data that are a single point: the state stays alpha m + sigma (unit noise)."""
    m = 0.7
    for ratios in (RATIOS, RATIOS[::3]):
        levels = [at("preserving", ratio) for ratio in ratios]
        start, end = levels[0], levels[-1]
        mean, variance = (float(value) for value in gaussian_law(build(levels), m, 0.0, start.alpha * m, start.sigma**2))
        if holds_belief and abs(mean - end.alpha * m) > 1e-9:
            yield f"constant belief: the mean is off by {mean - end.alpha * m:.1g}"
        if holds_belief and abs(variance / end.sigma**2 - 1.0) > noise_tolerance:
            yield f"constant belief: the variance of the noise is {variance / end.sigma**2:.6g} times what it should be"


def _orders(
    build: Build,
    order: int,
    stochastic: bool,
    any_grid: bool,
    steps: tuple[int, int],
    tolerance: float,
    orders: dict[str, float],
) -> Iterator[str]:
    gaussians = [gaussian_problem(variance=v) for v in VARIANCES]
    problems: dict[str, list[Problem]] = {"gaussian": gaussians}
    if not stochastic:
        problems["mixture"] = [PROBLEMS["mixture"]()]
    grids = {"an even grid": _even, "an uneven grid": _uneven, **({"alternating steps": _alternating} if any_grid else {})}
    for problem, known in problems.items():
        for grid, levels in grids.items():
            found = _slope(build, known, steps, stochastic=stochastic, levels=levels)
            orders[f"{problem}, {grid}"] = found
            if not found > order - tolerance:
                yield f"order: {found:.2f} on {problem}, {grid}, where {order} is stated"


def _own_order(build: Build, order: int, starts: int, tolerance: float, orders: dict[str, float]) -> Iterator[str]:
    found = _slope(build, [PROBLEMS["mixture"]()], (128, 256), levels=_equal, exact_starts=starts)
    orders[f"from {starts} exact starts"] = found
    if not found > order - tolerance:
        yield f"order: {found:.2f} from {starts} exact start values, where {order} is stated"


def _slope(build: Build, problems: Sequence[Problem], steps: tuple[int, int], **options: Any) -> float:
    """Of the largest error over the problems, so that no problem's errors can cancel; inf where there is none."""
    found = [measured_order(build, problem=problem, steps=steps, **options) for problem in problems]
    coarse, fine = (max(each.errors[i] for each in found) for i in (0, 1))
    return math.log(coarse / fine) / math.log(steps[1] / steps[0]) if fine > 0.0 else math.inf


def _even(steps: int) -> list[Level]:
    return _stretched(lambda share: share, steps)


def _uneven(steps: int) -> list[Level]:
    """Smooth, with steps that grow and shrink by a factor of three over the run."""
    return _stretched(lambda share: share + 0.5 * math.sin(2.0 * math.pi * share) / (2.0 * math.pi), steps)


def _alternating(steps: int) -> list[Level]:
    """Not smooth: each second step is half as long as the one before, the next twice as long."""
    return _stretched(lambda share: share + (round(share * steps) % 2) / (3.0 * steps), steps)


def _stretched(share: Callable[[float], float], steps: int) -> list[Level]:
    return [Level.from_log_snr(-4.0 + 8.0 * share(i / steps)) for i in range(steps + 1)]


def _equal(steps: int) -> list[Level]:
    """Equal steps of sigma / alpha."""
    return [Level(1.0, math.e + (1.0 / math.e - math.e) * i / steps) for i in range(steps + 1)]


def _result(table: Tableau, levels: Sequence[Level]) -> Tensor:
    """A run on a mixture from x = sigma_0 z; draws are functions of their place."""
    problem = PROBLEMS["mixture"]()
    start = levels[0].sigma * torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    made = {place: _drawn(place) for place in draws(table)}
    return run_loop(table, problem.denoise, start, made.__getitem__)


def _drawn(place: Draw) -> Tensor:
    generator = torch.Generator().manual_seed(1000 * (place.step + 1) + place.stage)
    return torch.randn(9, dtype=torch.float64, generator=generator)
