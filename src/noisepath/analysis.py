"""What a tableau does, without a network: its exact law on Gaussian data, and the order it converges with.

For data N(m, v) (one value; a full Gaussian is one for each eigenvalue) the ideal denoiser is linear,

    D(x) = m + alpha v / (alpha^2 v + sigma^2) (x - alpha m),

so every node of a run is a linear form of 1, the start's draw and the run's draws, and the mean and variance that a
solver really produces are read off its coefficients: no sampling, no error.  The truth at a level (alpha, sigma) is
N(alpha m, alpha^2 v + sigma^2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .errors import lookup
from .levels import Level
from .loop import run_loop
from .tableau import Draw, Tableau, calls, draws

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor

__all__ = [
    "DEVIATIONS", "FACTORS", "PROBLEMS", "Order", "Problem", "calls", "gaussian_flow", "gaussian_law", "gaussian_problem",
    "measured_order", "over_first_order", "smooth_levels",
]  # fmt: skip

Build = Callable[[Sequence[Level]], Tableau]


def gaussian_law(
    tableau: Tableau,
    mean: ArrayLike,
    variance: ArrayLike,
    start_mean: ArrayLike = 0.0,
    start_variance: ArrayLike | None = None,
) -> tuple[Any, Any]:
    """Mean and variance of the last state, as float64 arrays, for data N(mean, variance).

    mean, variance: of the data, numbers or arrays that broadcast, one entry for each eigenvalue.
    start_mean, start_variance: of the run's start; by default that of a run by :func:`~noisepath.sampling.sample`,
        0 and sigma_0^2.
    """
    import numpy as np

    m, v = np.broadcast_arrays(np.asarray(mean, float), np.asarray(variance, float))
    spread = tableau[0].level.sigma if start_variance is None else np.sqrt(start_variance)
    basis = {draw: 2 + i for i, draw in enumerate(draws(tableau))}  # rows: the constant 1, the start's draw, the others
    states: list[Any] = []
    outputs: list[Any] = []
    for n, node in enumerate(tableau):
        x = np.zeros((2 + len(basis), *m.shape))
        if n == 0:
            x[0], x[1] = start_mean, spread
        for k, weight in node.states.items():
            x += weight * states[k]
        for k, weight in node.outputs.items():
            x += weight * outputs[k]
        for draw, weight in node.draws.items():
            x[basis[draw]] += weight
        alpha, sigma = node.level.alpha, node.level.sigma
        gain = alpha * v / (alpha**2 * v + sigma**2) if node.evaluate else np.zeros_like(v)
        output = gain * x
        output[0] += m - gain * alpha * m
        states.append(x)
        outputs.append(output)
    return states[-1][0], (states[-1][1:] ** 2).sum(0)


DEVIATIONS = (0.05, 0.3, 1.0, 3.0)
"""Of the Gaussian data on which a solver is compared with DDIM."""
FACTORS = (1.5, 2.0, 3.0)
"""What :func:`over_first_order` is to be at most: of a solver that draws nothing, of one that draws noise, and of any ever."""
_NO_ERROR = 1e-3


def over_first_order(
    table: Tableau, ddim: Tableau, deviations: Sequence[float] = DEVIATIONS, *, exact_start: bool = False
) -> Any:
    """The error of a run over that of DDIM's on the same grid, for data N(0, d^2) of each deviation d: a float64 array.

    The error is that of the samples' deviation, relative; one below 1e-3 counts as 1e-3.  Runs start at sigma_0 z, as those of
    :func:`noisepath.sample` do, or with ``exact_start`` with the law that the data have at the first level.
    """
    import numpy as np

    own, first = (_deviation_error(each, np.asarray(deviations, float), exact_start) for each in (table, ddim))
    return np.maximum(own, _NO_ERROR) / np.maximum(first, _NO_ERROR)


def _deviation_error(table: Tableau, deviations: Any, exact_start: bool) -> Any:
    start, end = ((node.level.alpha * deviations) ** 2 + node.level.sigma**2 for node in (table[0], table[-1]))
    variance = gaussian_law(table, 0.0, deviations**2, 0.0, start if exact_start else None)[1]
    return abs((variance / end) ** 0.5 - 1.0)


def gaussian_flow(x: Any, start: Level, end: Level, mean: Any, variance: Any) -> Any:
    """Where the probability-flow ODE of data N(mean, variance) takes x from ``start`` to ``end``, in closed form.

    It keeps the distance from the mean in standard deviations: (x_s - alpha_s m) / sd_s = (x_t - alpha_t m) / sd_t.
    """
    before = (start.alpha**2 * variance + start.sigma**2) ** 0.5
    after = (end.alpha**2 * variance + end.sigma**2) ** 0.5
    return end.alpha * mean + after / before * (x - start.alpha * mean)


# Order ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """A problem with a known answer: one value, so that the denoiser and its flow are formulas of a column of states."""

    denoise: Callable[[Tensor, Level], Tensor]
    flow: Callable[[Tensor, Level, Level], Tensor]
    mean: float
    variance: float
    gaussian: bool = False


def gaussian_problem(mean: float = 0.3, variance: float = 0.7) -> Problem:
    """Data N(mean, variance)."""
    m, v = mean, variance

    def denoise(x: Tensor, level: Level) -> Tensor:
        return m + level.alpha * v / (level.alpha**2 * v + level.sigma**2) * (x - level.alpha * m)

    return Problem(denoise, lambda x, t, s: gaussian_flow(x, t, s, m, v), m, v, True)


def _mixture_problem() -> Problem:
    """0.4 N(-1, 0.5^2) + 0.6 N(0.8, 0.6^2): not linear, and smooth enough to reach the asymptotic slope early."""
    parts = ((0.4, -1.0, 0.25), (0.6, 0.8, 0.36))
    m = sum(w * c for w, c, _ in parts)

    def denoise(x: Tensor, level: Level) -> Tensor:
        alpha, sigma = level.alpha, level.sigma
        logs, beliefs = [], []
        for w, c, v in parts:
            total = alpha**2 * v + sigma**2
            logs.append(math.log(w) - 0.5 * math.log(total) - (x - alpha * c) ** 2 / (2 * total))
            beliefs.append(c + alpha * v / total * (x - alpha * c))
        return (torch.softmax(torch.stack(logs), 0) * torch.stack(beliefs)).sum(0)

    def tail(x: Tensor, level: Level, side: Tensor) -> Tensor:
        """The logarithm of the weight beyond x, on the side of less (1) or more (-1)."""
        logs = [
            math.log(w) + torch.special.log_ndtr(side * (x - level.alpha * c) / math.hypot(level.alpha * v**0.5, level.sigma))
            for w, c, v in parts
        ]
        return torch.logsumexp(torch.stack(logs), 0)

    def flow(x: Tensor, start: Level, end: Level) -> Tensor:
        """On a line the flow moves nothing past anything else: x keeps its quantile, that of its lighter side."""
        side = torch.where(tail(x, start, torch.ones_like(x)) < tail(x, start, -torch.ones_like(x)), 1.0, -1.0).to(x)
        wanted = tail(x, start, side)
        reach = 40.0 * (end.alpha + end.sigma)
        low, high = torch.full_like(x, -reach), torch.full_like(x, reach)
        for _ in range(64):  # halving, to the last digit
            middle = (low + high) / 2.0
            right = (tail(middle, end, side) < wanted) == (side > 0.0)
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        return (low + high) / 2.0

    return Problem(denoise, flow, m, sum(w * (v + c * c) for w, c, v in parts) - m * m)


PROBLEMS: dict[str, Callable[[], Problem]] = {"gaussian": gaussian_problem, "mixture": _mixture_problem}


@dataclass(frozen=True)
class Order:
    """How a solver converges: its errors for each number of steps, and the slope between the last two."""

    steps: tuple[int, ...]
    errors: tuple[float, ...]

    @property
    def order(self) -> float:
        """log(error ratio) / log(step ratio) of the two finest runs."""
        return math.log(self.errors[-2] / self.errors[-1]) / math.log(self.steps[-1] / self.steps[-2])


def smooth_levels(steps: int, noisy: float = -2.0, clean: float = 2.0) -> list[Level]:
    """``steps + 1`` levels uniform in log(alpha / sigma) from ``noisy`` to ``clean``, variance preserving: no end, no bend."""
    return [Level.from_log_snr(2.0 * (noisy + (clean - noisy) * i / steps)) for i in range(steps + 1)]


def measured_order(
    solver: Build,
    *,
    problem: str | Problem = "gaussian",
    stochastic: bool = False,
    steps: Sequence[int] = (16, 32, 64, 128),
    exact_starts: int = 0,
    levels: Callable[[int], Sequence[Level]] = smooth_levels,
) -> Order:
    """Errors of a solver as its steps are halved, on a problem whose answer is known.

    problem: a name of ``PROBLEMS``, or one made by :func:`gaussian_problem`.
    stochastic: measure the law (weak order) instead of the states: the error of the mean in standard deviations plus
        that of the variance, relative, by the exact recursion from the true law at the start; on Gaussian data alone.
    exact_starts: at the ends of the first so many steps the states are put right, as a multistep method of high order
        wants its start values; all states that belong to these levels, predicted or corrected.
    levels: the grid, by number of steps; ends that are exact data or noise hide the order.
    """
    known = lookup(PROBLEMS, problem, "problem")() if isinstance(problem, str) else problem
    if stochastic and not known.gaussian:
        raise ValueError('weak order is measured on "gaussian", where the law is exact')
    if stochastic and exact_starts:
        raise ValueError("exact_starts put states right: they are for a solver that draws no noise")
    errors = []
    for count in steps:
        grid = list(levels(count))
        table = solver(grid)
        right = grid[1 : 1 + exact_starts]
        errors.append(_law_error(table, known) if stochastic else _state_error(table, known, right))
    return Order(tuple(steps), tuple(errors))


def _law_error(table: Tableau, problem: Problem) -> float:
    start, end = table[0].level, table[-1].level
    m, v = problem.mean, problem.variance
    before, after = (level.alpha**2 * v + level.sigma**2 for level in (start, end))
    mean, variance = gaussian_law(table, m, v, start.alpha * m, before)
    return float(abs(variance / after - 1.0) + abs(mean - end.alpha * m) / after**0.5)


def _state_error(table: Tableau, problem: Problem, right: Sequence[Level]) -> float:
    start, end = table[0].level, table[-1].level
    x = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64) * math.hypot(start.alpha, start.sigma)
    # a state that is put right is handed in where a draw would be
    handed = {Draw(-2, i): level for i, level in enumerate(right)}
    places = {level: place for place, level in handed.items()}
    put = [
        node if node.kept or node.level not in places else replace(node, states={}, outputs={}, draws={places[node.level]: 1.0})
        for node in table
    ]

    def hand(place: Draw) -> Tensor:
        if place not in handed:
            raise ValueError(f"this solver draws noise (at {place}): measure its order with stochastic=True")
        return problem.flow(x, start, handed[place])

    got = run_loop(tuple(put), problem.denoise, x, hand)
    return float((got - problem.flow(x, start, end)).abs().max())
